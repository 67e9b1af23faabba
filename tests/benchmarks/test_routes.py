"""The benchmark of routes, in a few units: each route answers, and no test asserts a time."""

import pytest

from benchmarks.routes.__main__ import OWN, ROUTES, TINY, main


async def test_every_route_is_measured_in_every_round(capsys: pytest.CaptureFixture[str]) -> None:
    found = await main(TINY)
    assert {name: len(rounds) for name, rounds in found.items()} == dict.fromkeys(ROUTES, TINY.rounds)
    assert all(time > 0 for rounds in found.values() for time in rounds)
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith(name) for line, name in zip(lines, ROUTES, strict=True)] == [True] * len(ROUTES)
    assert next(line for line in lines if line.startswith(OWN)).endswith(" 1.00 x")
