"""The benchmark of streams, in a few units: each row measures something, and no test asserts a time."""

from benchmarks.streams.__main__ import TINY, idle, pulsed, server, started


async def test_idle_readers_and_readers_beside_stalled_ones_are_measured() -> None:
    async with server() as port:
        paths = await started(port, TINY.runs)
        assert len(set(paths)) == TINY.runs
        _, cpu = await idle(port, paths, TINY)
        assert cpu >= 0
        found = await pulsed(port, paths, TINY, TINY.stalled)
        assert set(found) == {"median ms", "p99 ms", "MB", "cpu s"}
        assert 0 < found["median ms"] <= found["p99 ms"]
