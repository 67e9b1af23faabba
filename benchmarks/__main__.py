"""All of them: `python -m benchmarks`."""

from benchmarks import fan_out, messages, postgres, reading, storage, superstep, width

superstep.main()
fan_out.main()
width.main()
storage.main()
reading.main()
messages.main()
postgres.main()
