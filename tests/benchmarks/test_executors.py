"""The benchmark of executors, in a few units: each contender is measured, and no test asserts a time."""

import importlib.util

import pytest

from benchmarks.executors.__main__ import DASK, IN_LOOP, PLAIN, PROCESSES, THREADS, TINY, main


async def test_every_contender_is_measured_in_every_round(capsys: pytest.CaptureFixture[str]) -> None:
    contenders = [PLAIN, IN_LOOP, PROCESSES, THREADS]
    if importlib.util.find_spec("distributed") is not None:
        contenders.append(DASK)

    busy, empty = await main(TINY)

    for found in (busy, empty):
        assert {name: len(rounds) for name, rounds in found.items()} == dict.fromkeys(contenders, TINY.rounds)
        assert all(time > 0 for rounds in found.values() for time in rounds)
    lines = capsys.readouterr().out.splitlines()
    assert [line.strip().partition("  ")[0] for line in lines if " ms a task" in line] == contenders * 2
    assert [line.split()[-2] for line in lines if line.strip().startswith(PLAIN)] == ["1.00", "1.00"]
