"""Invalid options of tasks and entrypoints are refused by the decorators."""

from typing import Any

import pytest

from durable_graph import GraphValidationError, InvalidOptionError, entrypoint, task
from tests.errors.kinds import of_kind

WRONG_POLICIES = [
    {"retry_policy": [3]},
    {"retry_policy": "x"},
    {"cache_policy": 5},
    {"timeout": "soon"},
    {"timeout": -1.0},
]


@pytest.mark.parametrize("wrong", WRONG_POLICIES, ids=str)
@pytest.mark.parametrize("decorator", [task, entrypoint])
def test_an_invalid_policy_or_timeout_is_refused_by_the_decorator(decorator: Any, wrong: dict[str, Any]) -> None:
    (option,) = wrong
    with pytest.raises(InvalidOptionError, match=option):
        decorator(**wrong)


@pytest.mark.parametrize("wrong", [{"checkpointer": "runs.db"}, {"cache": {}}], ids=str)
def test_an_invalid_checkpointer_or_cache_is_refused_by_the_decorator(wrong: dict[str, Any]) -> None:
    (option,) = wrong
    with pytest.raises(InvalidOptionError, match=option):
        entrypoint(**wrong)


def test_an_entrypoint_decorator_without_parentheses_is_refused() -> None:
    async def flow(given: int) -> int:
        return given

    decorator: Any = entrypoint
    with pytest.raises(InvalidOptionError, match="checkpointer"):
        decorator(flow)


@pytest.mark.parametrize("name", ["__start__", "__end__", "a|b", "a:b", "\ud800"])
def test_names_that_nodes_cannot_have_are_refused_for_entrypoints_and_tasks(name: str) -> None:
    """An entrypoint named `__start__` ran forever."""

    async def function(given: str) -> str:
        return given

    with pytest.raises(GraphValidationError, check=of_kind("argument"), match="cannot be an entrypoint's name"):
        entrypoint(name=name)(function)
    with pytest.raises(GraphValidationError, check=of_kind("argument"), match="cannot be a task's name"):
        task(name=name)(function)
