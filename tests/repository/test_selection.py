"""The forms of whole-graph tests that each target runs: tests/selection.py."""

from dataclasses import dataclass
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from tests.savers import DURABILITIES, SAVERS
from tests.selection import FORMS, selected

OWN = (1, 2)
"""The values of a parameter of the test's own."""


@dataclass(eq=False)
class Form:
    """The attributes of a pytest item that the selection reads."""

    location: tuple[str, int, str]
    callspec: SimpleNamespace
    fixturenames: list[str]
    marks: tuple[str, ...]

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.marks else None


def items(
    name: str = "test",
    *marks: str,
    file: str = "test_file.py",
    fixtures: tuple[str, ...] = (),
    **params: tuple[Any, ...],
) -> list[Any]:
    """One test function in all combinations of its parameters."""
    return [
        Form(
            location=(f"tests/{file}", 1, f"{name}[{values}]"),
            callspec=SimpleNamespace(params=dict(zip(params, values, strict=True))),
            fixturenames=[*params, *fixtures],
            marks=marks,
        )
        for values in product(*params.values())
    ]


def params_of(found: list[Any]) -> list[tuple[Any, ...]]:
    return [tuple(item.callspec.params.values()) for item in found]


def whole_graph(*marks: str) -> list[Any]:
    return items("test", *marks, saver=tuple(SAVERS), durability=tuple(DURABILITIES), own=OWN)


def test_all_forms_run_with_all() -> None:
    assert len(selected(whole_graph(), "all")) == len(SAVERS) * len(DURABILITIES) * len(OWN)


def test_usual_forms_are_those_of_memory_and_one_on_each_database() -> None:
    assert params_of(selected(whole_graph(), "usual")) == [
        ("memory", "sync", 1),
        ("memory", "sync", 2),
        ("sqlite", "exit", 1),
        ("postgres", "async", 2),
    ]


def test_usual_forms_without_modes_are_those_of_memory_and_one_on_each_database() -> None:
    found = selected(items(saver=tuple(SAVERS), own=OWN), "usual")

    assert params_of(found) == [("memory", 1), ("memory", 2), ("sqlite", 1), ("postgres", 2)]


def test_a_function_about_the_language_runs_on_one_database() -> None:
    names = [f"test_{number}" for number in range(100)]
    tests = [each for name in names for each in items(name, file="language/test_file.py", saver=tuple(SAVERS))]

    found = [saver for (saver,) in params_of(selected(tests, "usual"))]

    assert found.count("memory") == found.count("sqlite") + found.count("postgres") == len(names)
    assert min(found.count("sqlite"), found.count("postgres")) > 30


def test_a_database_runs_another_mode_if_a_test_lacks_the_usual_mode() -> None:
    found = selected(items(saver=tuple(SAVERS), durability=("sync",)), "usual")

    assert params_of(found) == [("memory", "sync"), ("sqlite", "sync"), ("postgres", "sync")]


def test_every_store_runs_all_modes_but_two_pairs() -> None:
    found = {pair[:2] for pair in params_of(selected(whole_graph("every_store"), "usual"))}

    assert found == set(product(SAVERS, DURABILITIES)) - {("sqlite", "async"), ("postgres", "exit")}


def test_memory_forms_have_no_database_and_no_other_mode() -> None:
    found = params_of(selected(whole_graph(), "memory"))

    assert found == [("memory", "sync", 1), ("memory", "sync", 2)]


@pytest.mark.parametrize(
    "others",
    [
        items("test", "slow"),
        items(fixtures=("postgres",)),
        items(fixtures=("server",)),
        items(target=("sqlite", "postgres")),
        items(durability=("async", "exit")),
    ],
    ids=["slow", "a server", "a server of its own", "another saver", "another mode"],
)
def test_memory_forms_leave_out_slow_tests_databases_and_other_modes(others: list[Any]) -> None:
    assert selected(others, "memory") == []
    assert selected(others, "usual") == others


def test_each_selection_includes_the_smaller_selections() -> None:
    tests = [*whole_graph(), *items("values", own=OWN), *items("stored", "every_store", saver=tuple(SAVERS))]

    memory, usual, everything = ([id(item) for item in selected(tests, forms)] for forms in FORMS)

    assert set(memory) < set(usual) < set(everything)
    assert everything == [id(item) for item in tests]
