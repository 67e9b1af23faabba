"""Open readers of runs over HTTP, in one server process: `python -m benchmarks.streams`.

It compares idle readers of runs with empty streams of sse-starlette, on uvicorn: the memory and the CPU of each. Then
all runs write events, first with quick readers alone and then beside readers that stall: how late the events arrive,
and what the process takes. `--readers`, `--runs` and `--seconds` make it smaller.
"""

import argparse
import asyncio
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.streams.readers import Reader, request

WARM = 100
"""Readers that are opened and closed before anything is measured."""
STALLED = 50
PULSES, EVERY, SIZE = 15, 2.0, 32 * 1024


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


async def idle(port: int, paths: list[str], number: int, seconds: float) -> tuple[float, float]:
    """The bytes of an idle reader, and the CPU time of all of them in a second."""
    for reader in await opened(port, paths, WARM):
        reader.close()
    await asyncio.sleep(1)
    before, _ = await facts(port)
    readers = await opened(port, paths, number)
    for reader in readers:
        reader.read_on()
    await asyncio.sleep(2)
    after, cpu = await facts(port)
    await asyncio.sleep(seconds)
    _, cpu_after = await facts(port)
    for reader in readers:
        reader.close()
    await asyncio.sleep(1)
    return (after - before) / number, (cpu_after - cpu) / seconds


async def pulsed(port: int, paths: list[str], number: int, stalled: int) -> dict[str, float]:
    """All runs write events, which the readers get; `stalled` readers beside them read nothing."""
    stuck = await opened(port, paths, stalled, stalls=True) if stalled else []
    readers = await opened(port, paths, number)
    for reader in readers:
        reader.read_on()
    before, cpu = await facts(port)
    for _ in range(PULSES):
        await request(port, "POST", f"/pulse?size={SIZE}")
        await asyncio.sleep(EVERY)
    async with asyncio.timeout(300):
        while any(len(reader.delays) < PULSES for reader in readers):  # noqa: ASYNC110  # the readers have no event
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


async def main(args: Any) -> None:
    async with server() as port:
        empty, empty_cpu = await idle(port, ["/empty"], args.readers, args.seconds)
    async with server() as port:
        paths = await started(port, args.runs)
        of_runs, of_runs_cpu = await idle(port, paths, args.readers, args.seconds)
    print(f"{args.readers} readers, idle              bytes each     CPU, % of a core")
    print(f"  empty streams of sse-starlette {empty:12,.0f} {empty_cpu * 100:12.2f}")
    print(f"  readers of {args.runs:3} runs            {of_runs:12,.0f} {of_runs_cpu * 100:12.2f}")
    print(f"  ratio                          {of_runs / empty:12.2f}")
    quick = args.readers - STALLED
    for stalled in (0, STALLED):
        async with server() as port:
            found = await pulsed(port, await started(port, args.runs), quick, stalled)
        print(f"{quick} readers beside {stalled:2} that stall: " + ", ".join(f"{n} {v:.1f}" for n, v in found.items()))


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams")
    parser.add_argument("--readers", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    asyncio.run(main(parser.parse_args()))
