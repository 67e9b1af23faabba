"""The modules that an import of the library loads, and the names that its modules may use."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.repository.tree import PACKAGES, ROOT, library_modules

NOT_NEEDED = {"asyncpg", "cyclopts", "hypothesis", "langchain_core", "pydantic", "pytest", "rich", "sqlite3"}

RUNS_CODE = {"__import__", "compile", "eval", "exec", "import_module", "load_module", "run_path", "run_module"}
LOADS_CODE = {"cloudpickle", "dill", "jsonpickle", "marshal", "pickle", "runpy", "shelve", "yaml"}

# The operator names the program on the command line, and a graph the functions of its nodes, which an executor's
# process imports; no stored data does.
LOADS_PROGRAMS = {
    "durable_graph/operating/apps.py": {"import_module"},
    "durable_graph/_runtime/task/executed.py": {"import_module"},
}

# An entry point imports a module named by an installed package. The URL that chooses it is the program's, not data.
LOADS_BACKENDS = "durable_graph/checkpointing/opening.py"
LOADS_TYPES = "durable_graph/app/installed_types.py"
LOOKS_UP = "durable_graph/installed.py"
LOADS_INTEGRATIONS = {
    "durable_graph/_runtime/request/callbacks.py",
    "durable_graph/channels/libraries.py",
    "durable_graph/graph/runnables.py",
}

DEPENDENCIES = {
    # cyclopts is the extra `cli`: the contract "command-line" says where it is imported.
    "durable_graph": {"anyio", "cronsim", "cyclopts", "msgspec", "typing_extensions"},
    "durable_graph_sqlite": {"durable_graph", "msgspec"},
    "durable_graph_postgres": {"asyncpg", "durable_graph"},
    # langsmith and pydantic are dependencies of langchain-core.
    "durable_graph_langchain": {"durable_graph", "langchain_core", "langsmith", "pydantic", "pydantic_core"},
    "durable_graph_http": {"durable_graph", "msgspec"},
    # starlette is a dependency of fastapi.
    "durable_graph_fastapi": {"durable_graph", "durable_graph_http", "fastapi", "sse_starlette", "starlette"},
    "durable_graph_aiohttp": {"aiohttp", "aiohttp_sse", "durable_graph", "durable_graph_http"},
}


def modules_after(program: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after a program."""
    program = f"import json, sys\n{program}\nprint(json.dumps(list(sys.modules)))"
    # Tools such as coverage may start with every interpreter here; the library does not import them.
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'backends'}:{ROOT / 'integrations'}"}
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(ran.stdout)}


def imported(tree: ast.AST) -> Iterator[str]:
    """The top-level names of all imports of a module, at any place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module.split(".")[0]


def mentioned(tree: ast.AST) -> Iterator[str]:
    """The names that a module uses: called, passed on, imported from elsewhere, or read as attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        # Neither compiles code.
        elif isinstance(node, ast.Attribute) and ast.unparse(node) not in ("re.compile", "builder.compile"):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def ways_to_run_data(source: str) -> set[str]:
    """The names in a module that could turn data into code."""
    tree = ast.parse(source)
    return set(mentioned(tree)) & RUNS_CODE | set(imported(tree)) & LOADS_CODE


def test_importing_the_library_imports_no_driver_and_no_model_library() -> None:
    assert modules_after("import durable_graph") & NOT_NEEDED == set()


def test_imports_of_drivers_are_detected() -> None:
    assert {"sqlite3", "pydantic"} <= modules_after("import sqlite3, pydantic")


def test_no_module_can_turn_data_into_code() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): ways_to_run_data(path.read_text(encoding="utf-8"))
        for path in library_modules()
    }

    assert {name: ways for name, ways in found.items() if ways} == LOADS_PROGRAMS


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "def f():\n    import yaml.reader",
        "from importlib import import_module as quietly",
        "import importlib\nimportlib.import_module(name)",
        "value = eval(text)",
        "decode = eval",
        "builtins.exec(text)",
        "__import__(name)",
        "compile(text, '', 'exec')",
    ],
)
def test_ways_to_turn_data_into_code_are_detected(source: str) -> None:
    assert ways_to_run_data(source) != set()


def test_installed_packages_are_imported_by_name_in_few_places_only() -> None:
    looked_up = {
        path.relative_to(ROOT).as_posix()
        for path in library_modules()
        if {"entry_points", "EntryPoint", "resolve_name"} & set(mentioned(ast.parse(path.read_text(encoding="utf-8"))))
    }

    assert looked_up == {LOADS_BACKENDS, LOADS_TYPES, LOOKS_UP, *LOADS_INTEGRATIONS}


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_its_dependencies(package: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in PACKAGES[package].rglob("*.py")]
    found = {name for source in sources for name in imported(ast.parse(source))}

    assert found - sys.stdlib_module_names - {package} <= DEPENDENCIES[package]
