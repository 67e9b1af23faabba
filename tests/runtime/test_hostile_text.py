"""A call with any text succeeds or raises an error of the library, never one of Python, SQLite or asyncpg."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from durable_graph import Checkpointer, DurableGraphError, InvalidOptionError
from tests.runtime.hostile_calls import CALLS, Call, Given

HOSTILE = ["", "half \udfff a pair", "a\x00b|c:d", "x" * 10_000, "9" * 16, "__start__", "http://["]


async def check_is_accepted_or_refused(call: Call, saver: Checkpointer, text: str) -> None:
    """Check that the call succeeds or raises a readable error of the library."""
    message = "done"
    try:
        await call(Given(saver, text))
    except DurableGraphError as error:
        message = str(error)
    message.encode("utf-8")
    assert 0 < len(message) <= 400


async def prepared(saver: Checkpointer) -> None:
    first = Given(saver, "")
    await first.graph.ainvoke({}, thread_id="t")
    await first.asking.ainvoke({}, thread_id="asks")


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
async def test_hostile_text_is_accepted_or_refused(call: Call, saver: Checkpointer) -> None:
    await prepared(saver)

    for text in HOSTILE:
        await check_is_accepted_or_refused(call, saver, text)


CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(suppress_health_check=CHECKS, deadline=None, max_examples=40)
@given(call=st.sampled_from(CALLS), text=st.text(st.characters(categories=None), max_size=40))
async def test_any_text_is_accepted_or_refused(saver: Checkpointer, call: Call, text: str) -> None:
    await prepared(saver)

    await check_is_accepted_or_refused(call, saver, text)


async def test_refused_calls_do_not_change_threads(saver: Checkpointer) -> None:
    await prepared(saver)
    graph = Given(saver, "").graph
    before = await graph.aget_state(thread_id="t")

    for config in ({"metadata": {"by": "\ud800"}}, {"metadata": {"\ud800": 1}}, {"run_name": "\ud800"}):
        with pytest.raises(InvalidOptionError, match="surrogate"):
            await graph.ainvoke({}, config, thread_id="t")

    assert await graph.aget_state(thread_id="t") == before
    assert [info.thread for info in await saver.list_threads()] == ["asks", "t"]


@pytest.mark.parametrize("status", ["bogus", "", "Done", "\ud800"])
async def test_an_unknown_status_is_refused(saver: Checkpointer, status: str) -> None:
    with pytest.raises(InvalidOptionError, match="'running', 'interrupted'") as raised:
        await saver.list_threads(status=status)  # type: ignore[arg-type]  # a mistake

    assert (raised.value.option, raised.value.value) == ("status", status)


@pytest.mark.parametrize("number", [-1, 2**63, 10**30])
async def test_a_number_outside_the_range_of_databases_is_refused(saver: Checkpointer, number: int) -> None:
    with pytest.raises(InvalidOptionError):
        await saver.list_threads(limit=number)
    with pytest.raises(InvalidOptionError):
        await saver.list_threads(before=number)
