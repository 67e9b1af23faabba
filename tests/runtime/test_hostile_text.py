"""Whatever text a call is given, it works or raises an error of ours: nothing of Python's, SQLite's or asyncpg's."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_graph import Checkpointer, DurableGraphError, InvalidOptionError
from tests.runtime.hostile_calls import CALLS, Call, Given

HOSTILE = ["", "half \udfff a pair", "a\x00b|c:d", "x" * 10_000, "9" * 16, "__start__", "http://["]


async def is_taken(call: Call, saver: Checkpointer, text: str) -> None:
    """The call works, or raises an error of ours that can be read."""
    said = "done"
    try:
        await call(Given(saver, text))
    except DurableGraphError as error:
        said = str(error)
    said.encode("utf-8")
    assert 0 < len(said) <= 400


async def prepared(saver: Checkpointer) -> None:
    first = Given(saver, "")
    await first.graph.ainvoke({}, thread_id="t")
    await first.asking.ainvoke({}, thread_id="asks")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
async def test_hostile_text_is_taken_or_refused(call: Call, saver: Checkpointer) -> None:
    await prepared(saver)

    for text in HOSTILE:
        await is_taken(call, saver, text)


CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(suppress_health_check=CHECKS, deadline=None, max_examples=40)
@given(call=st.sampled_from(CALLS), text=st.text(st.characters(categories=None), max_size=40))
async def test_any_text_is_taken_or_refused(saver: Checkpointer, call: Call, text: str) -> None:
    await prepared(saver)

    await is_taken(call, saver, text)


async def test_what_was_refused_left_the_threads_as_they_were(saver: Checkpointer) -> None:
    await prepared(saver)
    graph = Given(saver, "").graph
    before = await graph.aget_state(thread_id="t")

    for config in ({"metadata": {"by": "\ud800"}}, {"metadata": {"\ud800": 1}}, {"run_name": "\ud800"}):
        with pytest.raises(InvalidOptionError, match="surrogate"):
            await graph.ainvoke({}, config, thread_id="t")

    assert await graph.aget_state(thread_id="t") == before
    assert [info.thread for info in await saver.list_threads()] == ["asks", "t"]


@pytest.mark.parametrize("status", ["bogus", "", "Done", "\ud800"])
async def test_a_status_that_there_is_not_is_refused(saver: Checkpointer, status: str) -> None:
    with pytest.raises(InvalidOptionError, match="'running', 'interrupted'") as raised:
        await saver.list_threads(status=status)  # type: ignore[arg-type]  # a mistake

    assert (raised.value.option, raised.value.value) == ("status", status)


@pytest.mark.parametrize("number", [-1, 2**63, 10**30])
async def test_a_number_that_no_database_has_is_refused(saver: Checkpointer, number: int) -> None:
    with pytest.raises(InvalidOptionError):
        await saver.list_threads(limit=number)
    with pytest.raises(InvalidOptionError):
        await saver.list_threads(before=number)
