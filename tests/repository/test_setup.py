"""The setup of the tree: pins for all requirements, and a clear error if Python is too old."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.repository.tree import ROOT

PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[0-9][A-Za-z0-9.]*)")


def pins() -> dict[str, str]:
    files = [ROOT / name for name in ("constraints.txt", "constraints-peers.txt", "constraints-cluster.txt")]
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    matches = [PIN.fullmatch(line) for line in lines if not line.startswith("#")]
    assert None not in matches
    return {canonicalize_name(match["name"]): match["version"] for match in matches if match}


def requirements() -> list[Requirement]:
    """All requirements in pyproject.toml."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lists = [
        declared["build-system"]["requires"],
        declared["project"]["dependencies"],
        *declared["project"]["optional-dependencies"].values(),
        *declared["dependency-groups"].values(),
    ]
    return [Requirement(entry) for entries in lists for entry in entries if isinstance(entry, str)]


def test_every_requirement_has_a_pin_that_satisfies_it() -> None:
    pinned = pins()
    required = requirements()

    assert required
    assert [str(each) for each in required if not each.specifier.contains(pinned[canonicalize_name(each.name)])] == []


def test_the_tests_need_no_langgraph() -> None:
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8")

    # LangGraph's HTTP client is not LangGraph, and does not bring it.
    names = [line.partition("==")[0] for line in pinned.splitlines()]
    assert [name for name in names if name.startswith("langgraph")] == ["langgraph-sdk"]


def run_setup(tree: Path, python: str) -> "subprocess.CompletedProcess[str]":
    (tree / ".ci").mkdir()
    for file in (".ci/venv", "pyproject.toml", "constraints.txt", "constraints-peers.txt", "constraints-cluster.txt"):
        shutil.copy(ROOT / file, tree / file)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": python}
    return subprocess.run(
        [str(tree / ".ci/venv"), "dev"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_python_that_is_too_old_is_refused_in_one_sentence(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text("#!/bin/sh\necho 3.9\nexit 1\n")
    old.chmod(0o755)

    ran = run_setup(tmp_path, str(old))

    assert ran.returncode != 0
    assert ran.stderr.splitlines() == [
        f"durable_graph needs Python 3.11 or newer, and {old} is not: name one with 'make PYTHON=...'."
    ]
    assert not (tmp_path / ".venv").exists()
