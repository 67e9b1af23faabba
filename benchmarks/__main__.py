"""All of them: `python -m benchmarks`."""

from benchmarks import fan_out, storage, superstep, width

superstep.main()
fan_out.main()
width.main()
storage.main()
