"""Each package exports exactly the names that it lists, and the entry points lead to savers."""

import importlib
import inspect
import pkgutil
import tomllib
from types import ModuleType

import pytest

import durable_graph
from durable_graph import DurableGraphError, MemorySaver, errors
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteSaver
from tests.repository.tree import PACKAGES, ROOT

FACADES = [*PACKAGES, "durable_graph.checkpointing"]
"""Packages that only gather names."""


def exported(module: ModuleType) -> set[str]:
    """Every public name in it that is no module."""
    return {
        name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }


@pytest.mark.parametrize("name", FACADES)
def test_a_package_exports_exactly_what_it_lists(name: str) -> None:
    module = importlib.import_module(name)

    assert exported(module) == set(module.__all__)
    assert len(module.__all__) == len(set(module.__all__))


def test_every_error_can_be_caught_by_its_public_name() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, (DurableGraphError, Warning))
    }

    assert defined <= set(durable_graph.__all__)
    # GraphDrained is control flow, by the name that LangGraph gave it.
    assert {name for name in defined if not name.endswith(("Error", "Warning"))} == {"GraphDrained"}


def test_the_entry_points_lead_to_savers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = project["entry-points"]["durable_graph.backends"]

    savers = {scheme: pkgutil.resolve_name(target) for scheme, target in found.items()}

    assert savers == {
        "memory": MemorySaver,
        "sqlite": SqliteSaver,
        "postgresql": PostgresSaver,
        "postgres": PostgresSaver,
    }
