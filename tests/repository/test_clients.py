"""What `make clients` needs: a lock file that names no host, exact versions, and a clear error without Node.js."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.repository.tree import ROOT

FOLDER = ROOT / "tests" / "clients"


def test_the_lock_file_names_no_host() -> None:
    text = (FOLDER / "package-lock.json").read_text(encoding="utf-8")
    packages = json.loads(text)["packages"]

    assert '"resolved"' not in text
    assert "registry" not in text
    assert "://" not in text
    # Packages are verified all the same.
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []


def test_versions_are_exact() -> None:
    declared = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))["devDependencies"]
    locked = json.loads((FOLDER / "package-lock.json").read_text(encoding="utf-8"))["packages"]

    assert declared["@langchain/langgraph-sdk"] == "1.15.0"
    assert {name: locked[f"node_modules/{name}"]["version"] for name in declared} == declared


def run_clients(path: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(ROOT / each) for each in ("", "backends", "integrations"))
    environment = {**os.environ, "PATH": str(path), "PYTHONPATH": paths}
    command = [sys.executable, "-m", "tests.clients"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def executable(path: Path, program: str) -> None:
    path.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_make_clients_names_what_is_missing(tmp_path: Path) -> None:
    done = run_clients(tmp_path)

    assert done.returncode == 1
    assert done.stderr == (
        "make clients needs Node.js 20 or newer and npm. Not on the search path: node, npm. "
        "Install the system's nodejs and npm\n"
    )


@pytest.mark.parametrize("version", ["v18.20.4", "v8.0.0"])
def test_make_clients_refuses_an_old_node(tmp_path: Path, version: str) -> None:
    executable(tmp_path / "node", f"echo {version}")
    executable(tmp_path / "npm", "exit 1")
    done = run_clients(tmp_path)

    assert done.returncode == 1
    assert f"{tmp_path / 'node'} is {version}: install a newer one" in done.stderr
