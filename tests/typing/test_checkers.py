"""Type checkers accept every way of describing a graph, and reject a node of the wrong state, each on its line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_HERE = Path(__file__).parent
_ROOT = _HERE.parents[1]
_FILES = [str(_HERE / name) for name in ("accepted.py", "rejected.py")]
_MARK = re.compile(r"# E: (.+)$")

Errors = dict[tuple[str, int], str]
"""The messages of a checker, by file and line."""


def expected() -> Iterator[tuple[str, int, str]]:
    for line, text in enumerate((_HERE / "rejected.py").read_text().splitlines(), start=1):
        if mark := _MARK.search(text):
            yield "rejected.py", line, mark[1]


def mypy() -> Errors:
    ran = _run("mypy", "--no-error-summary", "--no-pretty", *_FILES)
    found = re.finditer(r"^(?P<file>\S+?):(?P<line>\d+): error: (?P<said>.*)$", ran.stdout, re.MULTILINE)
    errors = {(match["file"], int(match["line"])): match["said"] for match in found}
    assert errors, ran.stdout + ran.stderr
    # mypy also reports errors in the modules that the files import: `make types` checks those.
    return {(Path(file).name, line): said for (file, line), said in errors.items() if str(_ROOT / file) in _FILES}


def pyright() -> Errors:
    ran = _run("basedpyright", "--outputjson", "--level", "error", *_FILES)
    found = json.loads(ran.stdout)["generalDiagnostics"]
    return {(Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"] for one in found}


def _run(checker: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", checker, *arguments]
    return subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=110)


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_exactly_the_marked_lines_are_errors_and_each_error_names_its_call(
    checker: Callable[[], Errors],
) -> None:
    errors = checker()

    assert set(errors) == {(file, line) for file, line, _ in expected()}
    assert [(line, said) for file, line, said in expected() if said not in errors[file, line]] == []
