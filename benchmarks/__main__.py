"""All of them: `python -m benchmarks`."""

from benchmarks import fan_out, storage, superstep

superstep.main()
fan_out.main()
storage.main()
