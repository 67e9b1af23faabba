"""Each contract of `make imports` detects the imports that it forbids."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.repository.tree import ROOT, copy_library

BACKEND = "backends/durable_graph_sqlite/statements.py"
INTEGRATION = "integrations/durable_graph_langchain/tool_node.py"

PLANTS = [
    # the broken contract, the module, the added line
    ("layers", "durable_graph/records.py", "import durable_graph.codec"),
    ("layers", "durable_graph/_engine/apply.py", "import durable_graph._runtime.superstep.drive"),
    ("layers", "durable_graph/stray.py", '"""A module that has no place."""'),
    ("run", "durable_graph/_runtime/events/model.py", "import durable_graph._runtime.superstep.drive"),
    ("run", "durable_graph/_runtime/stray.py", '"""A module that has no place."""'),
    ("facade", "durable_graph/codec/wire.py", "from durable_graph import StateGraph"),
    ("facade", BACKEND, "from durable_graph import StateGraph"),
    ("backends", BACKEND, "import durable_graph.codec"),
    ("backends", BACKEND, "from durable_graph.testing import rows"),
    ("integrations", "durable_graph/graph/messaging.py", "import langchain_core"),
    ("integrations", BACKEND, "import durable_graph_langchain"),
    ("extending", INTEGRATION, "import durable_graph._runtime.task.task_calls"),
    ("http", "integrations/durable_graph_http/service.py", "import durable_graph._runtime.events.model"),
    ("http", "integrations/durable_graph_http/service.py", "import starlette.responses"),
    ("frameworks", "integrations/durable_graph_fastapi/router.py", "import durable_graph.checkpointing"),
    ("frameworks", "integrations/durable_graph_aiohttp/routes.py", "import durable_graph_sqlite"),
    ("independence", "durable_graph/checkpointing/opening.py", "import durable_graph_sqlite"),
    ("independence", "durable_graph/codec/models.py", "import pydantic"),
    ("independence", "durable_graph/graph/runnables.py", "import langchain_core.runnables"),
    ("extending", "integrations/durable_graph_langchain/callbacks.py", "import langgraph"),
    ("http", "integrations/durable_graph_http/call.py", "import durable_graph.checkpointing"),
    ("http", "integrations/durable_graph_http/frames.py", "import starlette"),
    ("frameworks", "integrations/durable_graph_fastapi/router.py", "import durable_graph.app"),
    ("frameworks", "integrations/durable_graph_aiohttp/routes.py", "import durable_graph_sqlite"),
    ("command-line", "durable_graph/operating/serving.py", "import cyclopts"),
    ("command-line", "durable_graph/__main__.py", "import cyclopts"),
    ("reading-data", "durable_graph/codec/codec.py", "import pickle"),
    ("reading-data", BACKEND, "import marshal"),
    ("pure", "durable_graph/_engine/task.py", "import time"),
    ("pure", "durable_graph/channels/joined.py", "import asyncio"),
    ("derived", "durable_graph/_engine/task.py", "import uuid"),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library. A test that changes a file restores it."""
    tree = tmp_path_factory.mktemp("copied")
    copy_library(tree)
    return tree


def lint(tree: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    program = str(Path(sys.executable).with_name("lint-imports"))
    # The copy comes before the tree that is installed.
    paths = os.pathsep.join(str(each) for each in (tree, tree / "backends", tree / "integrations"))
    environment = {**os.environ, "PYTHONPATH": paths}
    command = [program, "--no-logo", *options]
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def changed(module: Path, line: str) -> Iterator[None]:
    """Add a line at the end of a module, or create a module of that line."""
    before = module.read_text(encoding="utf-8") if module.exists() else None
    module.write_text(f"{before or ''}\n{line}\n", encoding="utf-8")
    try:
        yield
    finally:
        if before is None:
            module.unlink()
        else:
            module.write_text(before, encoding="utf-8")


def contracts() -> list[dict[str, Any]]:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed: list[dict[str, Any]] = configuration["tool"]["importlinter"]["contracts"]
    return listed


def test_the_library_keeps_every_contract(copied: Path) -> None:
    ran = lint(copied)

    assert ran.returncode == 0, ran.stdout
    assert f"Contracts: {len(contracts())} kept, 0 broken." in ran.stdout


def test_every_contract_has_a_planted_import() -> None:
    assert {contract for contract, _, _ in PLANTS} == {contract["id"] for contract in contracts()}


@pytest.mark.parametrize(("contract", "module", "line"), PLANTS)
def test_a_planted_import_breaks_the_contract(copied: Path, contract: str, module: str, line: str) -> None:
    with changed(copied / module, line):
        ran = lint(copied, "--contract", contract)

    assert "0 kept, 1 broken" in ran.stdout, ran.stdout + ran.stderr
    assert ran.returncode == 1


def test_new_modules_of_the_library_are_forbidden_to_backends_or_listed_here() -> None:
    """The contract lists the forbidden modules: a new module of the library belongs there, or here."""
    (backends,) = [contract for contract in contracts() if contract["id"] == "backends"]
    modules = {path.stem for path in (ROOT / "durable_graph").iterdir() if path.suffix == ".py" or path.is_dir()}

    forbidden = {module.removeprefix("durable_graph.") for module in backends["forbidden_modules"]}

    allowed = {"caching", "checkpointing", "errors", "queue_records", "records", "run_records"}
    assert modules - forbidden - {"__init__", "__pycache__"} == allowed
