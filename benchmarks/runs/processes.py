"""Processes that accept or execute runs, and report the CPU time that they used.

usage: python -m benchmarks.runs.processes accept|work CONTENDER URL

A process writes a line once it is ready, reads commands, and writes a line for each: `fill N` and `results N` accept
runs, `begin` executes what is accepted, `end` ends it. The lines have the CPU seconds, and the times of `results`.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Literal

import msgspec

from benchmarks.runs.contenders import CONTENDERS

Role = Literal["accept", "work"]
_ROOT: Final = Path(__file__).parents[2]


class Told(msgspec.Struct, frozen=True):
    """What a process says about a command: the CPU seconds of all its threads, and the seconds until each result."""

    cpu: float = 0.0
    results: list[float] = []


class Process:
    """A process of a contender, for the process that measures."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, command: str) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def told(self) -> Told:
        """What the process says next. Blocks."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "a process of the benchmark has failed: see its error above"
        return msgspec.json.decode(line, type=Told)


@contextmanager
def process(role: Role, contender: str, url: str) -> Iterator[Process]:
    """A process that is ready, and ends with the block."""
    command = [sys.executable, "-m", "benchmarks.runs.processes", role, contender, url]
    running = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        other = Process(running)
        other.told()
        yield other
    finally:
        running.kill()
        running.communicate()


def _tell(told: Told) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


async def _commands(source: IO[str]) -> list[str]:
    return (await asyncio.to_thread(source.readline)).split()


async def _accept(contender: str, url: str) -> None:
    async with CONTENDERS[contender].accepting(url) as accepting:
        _tell(Told())
        while command := await _commands(sys.stdin):
            began, results = time.process_time(), []
            if command[0] == "fill":
                await accepting.fill(int(command[1]))
            elif accepting.result is not None:
                for number in range(int(command[1])):
                    start = time.perf_counter()
                    await accepting.result(number)
                    results.append(time.perf_counter() - start)
            _tell(Told(time.process_time() - began, results))


async def _work(contender: str, url: str) -> None:
    async with CONTENDERS[contender].working(url) as begin:
        _tell(Told())
        await _commands(sys.stdin)
        await begin()
        began = time.process_time()
        while await _commands(sys.stdin):
            _tell(Told(time.process_time() - began))


if __name__ == "__main__":
    role, name, place = sys.argv[1:]
    asyncio.run(_accept(name, place) if role == "accept" else _work(name, place))
