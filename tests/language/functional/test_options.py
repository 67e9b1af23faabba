"""What tasks and entrypoints may be given, and what they refuse."""

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
def test_what_is_no_policy_is_refused_where_it_is_given(decorator: Any, wrong: dict[str, Any]) -> None:
    (option,) = wrong
    with pytest.raises(InvalidOptionError, match=option):
        decorator(**wrong)


@pytest.mark.parametrize("wrong", [{"checkpointer": "runs.db"}, {"cache": {}}], ids=str)
def test_what_is_no_saver_or_cache_is_refused_where_it_is_given(wrong: dict[str, Any]) -> None:
    (option,) = wrong
    with pytest.raises(InvalidOptionError, match=option):
        entrypoint(**wrong)


def test_an_entrypoint_without_parentheses_says_what_it_takes() -> None:
    async def flow(given: int) -> int:
        return given

    decorator: Any = entrypoint
    with pytest.raises(InvalidOptionError, match="checkpointer"):
        decorator(flow)


@pytest.mark.parametrize("name", ["__start__", "__end__", "a|b", "a:b", "\ud800"])
def test_names_that_nodes_cannot_have_are_none_of_entrypoints_and_tasks_either(name: str) -> None:
    """An entrypoint that was called `__start__` ran for ever."""

    async def function(given: str) -> str:
        return given

    with pytest.raises(GraphValidationError, check=of_kind("argument"), match="cannot be an entrypoint's name"):
        entrypoint(name=name)(function)
    with pytest.raises(GraphValidationError, check=of_kind("argument"), match="cannot be a task's name"):
        task(name=name)(function)
