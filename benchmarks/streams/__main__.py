"""Open readers of runs over HTTP, in one server process: `python -m benchmarks.streams`.

It compares idle readers of runs with empty streams of sse-starlette, on uvicorn: the memory and the CPU of each. Then
all runs write events, first with quick readers alone and then beside readers that stall: how late the events arrive,
and what the process takes. It takes about 4 minutes; with `--tiny`, a few seconds.
"""

import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from benchmarks.options import has_unknown
from benchmarks.streams.readers import Reader, request


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured. `warm` readers are opened and closed before. Idle readers are watched for `seconds`. All
    runs write an event of `size` bytes so many times (`pulses`), `every` so many seconds."""

    readers: int = 1000
    runs: int = 100
    stalled: int = 50
    warm: int = 100
    seconds: float = 10
    pulses: int = 15
    every: float = 2
    size: int = 32 * 1024


TINY = Sizes(readers=20, runs=2, stalled=2, warm=2, seconds=0.1, pulses=2, every=0.1)


@asynccontextmanager
async def server() -> AsyncIterator[int]:
    """The port of a server in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.streams.server", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220  # before all else
            assert process.stdout is not None
            port = int(await asyncio.to_thread(process.stdout.readline))
            try:
                while True:
                    try:
                        await request(port, "GET", "/agent/ok")
                        break
                    except ConnectionError:
                        await asyncio.sleep(0.05)
                yield port
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)


async def started(port: int, runs: int) -> list[str]:
    """The paths of the streams of runs that wait in their node."""
    paths: list[str] = []
    for number in range(runs):
        body = {"assistant_id": "follow", "input": {"count": 0}, "if_not_exists": "create"}
        run = await request(port, "POST", f"/agent/threads/t{number}/runs", body)
        paths.append(f"/agent/threads/t{number}/runs/{run['run_id']}/stream?stream_mode=custom")
    return paths


async def opened(port: int, paths: list[str], number: int, *, stalls: bool = False) -> list[Reader]:
    """So many open readers, which share these streams."""
    readers: list[Reader] = []
    for first in range(0, number, 50):
        part = [paths[place % len(paths)] for place in range(first, min(first + 50, number))]
        readers += await asyncio.gather(*(Reader.opened(port, path, stalls=stalls) for path in part))
    return readers


async def facts(port: int) -> tuple[float, float]:
    """The memory of the server in bytes, and its CPU time in seconds."""
    found = await request(port, "GET", "/facts")
    return found["bytes"], found["cpu"]


async def idle(port: int, paths: list[str], sizes: Sizes) -> tuple[float, float]:
    """The bytes of an idle reader, and the CPU time of all of them in a second."""
    for reader in await opened(port, paths, sizes.warm):
        reader.close()
    await asyncio.sleep(1)
    before, _ = await facts(port)
    readers = await opened(port, paths, sizes.readers)
    for reader in readers:
        reader.read_on()
    await asyncio.sleep(2)
    after, cpu = await facts(port)
    await asyncio.sleep(sizes.seconds)
    _, cpu_after = await facts(port)
    for reader in readers:
        reader.close()
    await asyncio.sleep(1)
    return (after - before) / sizes.readers, (cpu_after - cpu) / sizes.seconds


async def pulsed(port: int, paths: list[str], sizes: Sizes, stalled: int) -> dict[str, float]:
    """All runs write events, which the readers get; `stalled` readers beside them read nothing."""
    stuck = await opened(port, paths, stalled, stalls=True) if stalled else []
    readers = await opened(port, paths, sizes.readers - sizes.stalled)
    for reader in readers:
        reader.read_on()
    before, cpu = await facts(port)
    for _ in range(sizes.pulses):
        await request(port, "POST", f"/pulse?size={sizes.size}")
        await asyncio.sleep(sizes.every)
    async with asyncio.timeout(300):
        while any(len(reader.delays) < sizes.pulses for reader in readers):  # noqa: ASYNC110  # the readers have no event
            await asyncio.sleep(0.1)
    after, cpu_after = await facts(port)
    delays = sorted(delay for reader in readers for delay in reader.delays)
    for reader in (*readers, *stuck):
        reader.close()
    return {
        "median ms": statistics.median(delays) * 1000,
        "p99 ms": delays[len(delays) * 99 // 100] * 1000,
        "MB": (after - before) / 1e6,
        "cpu s": cpu_after - cpu,
    }


async def main(sizes: Sizes) -> None:
    """Measure, and print a line for each row."""
    async with server() as port:
        empty, empty_cpu = await idle(port, ["/empty"], sizes)
    async with server() as port:
        paths = await started(port, sizes.runs)
        of_runs, of_runs_cpu = await idle(port, paths, sizes)
    print(f"{sizes.readers} readers, idle              bytes each     CPU, % of a core")
    print(f"  empty streams of sse-starlette {empty:12,.0f} {empty_cpu * 100:12.2f}")
    print(f"  readers of {sizes.runs:3} runs            {of_runs:12,.0f} {of_runs_cpu * 100:12.2f}")
    print(f"  ratio                          {of_runs / empty:12.2f}")
    quick = sizes.readers - sizes.stalled
    for stalled in (0, sizes.stalled):
        async with server() as port:
            found = await pulsed(port, await started(port, sizes.runs), sizes, stalled)
        print(f"{quick} readers beside {stalled:2} that stall: " + ", ".join(f"{n} {v:.1f}" for n, v in found.items()))


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    if has_unknown(sys.argv[1:], {"--tiny"}, __doc__):
        sys.exit(2)
    asyncio.run(main(TINY if "--tiny" in sys.argv else Sizes()))
