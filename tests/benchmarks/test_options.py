"""The options of the benchmarks' commands."""

import asyncio
from collections.abc import Callable

import pytest

import benchmarks.__main__
import benchmarks.row_layouts.__main__
import benchmarks.runs.__main__
import benchmarks.wake_ups.__main__

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "benchmarks": benchmarks.__main__.main,
    "benchmarks.row_layouts": benchmarks.row_layouts.__main__.main,
    "benchmarks.runs": benchmarks.runs.__main__.main,
    "benchmarks.wake_ups": lambda arguments: asyncio.run(benchmarks.wake_ups.__main__.main(arguments)),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_is_refused_and_nothing_is_measured(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert COMMANDS[name](["--tiny", "--sizes=3"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "There is no option --sizes." in printed.err
    assert f"usage: python -m {name} " in printed.err
