"""Child runs: found again, awaited without a slot, typed results and failures, cancelled or left with their parent."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from operator import add
from typing import Annotated, Any, TypedDict

import msgspec
import pytest

from durable_graph import (
    START,
    Checkpointer,
    ChildFailedError,
    ChildRun,
    CompiledGraph,
    InvalidOptionError,
    OutsideOfWorkerError,
    StateGraph,
    UnknownInterruptError,
    UnknownNameError,
    UnknownRunError,
    interrupt,
    receive,
    start_child,
    task,
)
from durable_graph.errors import RunFailedError
from durable_graph.run_records import NewWorker
from durable_graph.runs import App, RunHandle
from durable_graph.testing import run_app
from durable_graph.testing.conformance.run_store_under_test import runs_of

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    log: Annotated[list[Any], add]


Graph = CompiledGraph[Any, Any, Any, Any]


def graph_of(*nodes: Any) -> Graph:
    """A chain of nodes."""
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_sequence(list(nodes))
    builder.add_edge(START, nodes[0].__name__)
    return builder.compile()


class Parcel(msgspec.Struct, frozen=True):
    number: int


class Shipment(TypedDict):
    order: int
    parcel: Parcel


async def ship(state: Shipment) -> Any:
    return {"parcel": Parcel(state["order"])}


def shipment() -> Graph:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Shipment)
    builder.add_node("ship", ship)
    builder.add_edge(START, "ship")
    return builder.compile()


async def fail(state: State) -> Any:
    message = "no stock"
    raise ValueError(message)


async def wait(state: State) -> Any:
    return {"log": [await receive("parcel")]}


async def ask(state: State) -> Any:
    return {"log": [interrupt("ok?")]}


def caught(error: ChildFailedError) -> State:
    return {"log": [error.kind, error.error]}


async def state_of(handle: RunHandle) -> str:
    return (await handle.status()).state


async def test_a_parent_awaits_the_typed_output_of_its_child(saver: Checkpointer) -> None:
    attempts: list[str] = []

    async def order(state: State) -> Any:
        attempts.append("order")
        child = await start_child("shipment", {"order": 7})
        output = await child.result()
        return {"log": [output["parcel"].number, type(output["parcel"]).__name__]}

    async def after(state: State) -> Any:
        return {"log": ["after"]}

    app = App({"order": graph_of(order, after), "shipment": shipment()}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app):
        assert await handle.result(20) == {"log": [7, "Parcel", "after"]}
    assert len(attempts) in (1, 2)
    assert len(await app.runs(graph="shipment")) == 1


async def test_a_waiting_parent_holds_no_slot_and_shows_its_child(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        child = await start_child("waiting", {})
        return await child.result()

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app, concurrency=1) as running:
        await running.settle()
        status = await handle.status()
        (child_id,) = status.children
        child = await app.find(child_id)
        assert status.state == "waiting"
        assert [topic.partition(":")[0] for topic in status.topics] == ["child"]
        assert (await child.status()).parent == handle.run_id
        assert status.parent is None
        await app.signal(child.thread_id, "parcel", 1)
        assert await handle.result(20) == {"log": [1]}
        assert (await handle.status()).children == ()


async def test_several_children_are_awaited_at_once(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        children = [await start_child("shipment", {"order": number}) for number in range(3)]
        outputs = await asyncio.gather(*(child.result() for child in children))
        return {"log": [output["parcel"].number for output in outputs]}

    app = App({"order": graph_of(order), "shipment": shipment()}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app):
        assert await handle.result(20) == {"log": [0, 1, 2]}
    assert len(await app.runs(graph="shipment")) == 3


async def test_equal_children_are_different_runs_and_a_key_makes_them_one(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        first, second = await start_child("shipment", {"order": 1}), await start_child("shipment", {"order": 1})
        third, fourth = (
            await start_child("shipment", {"order": 2}, key="k"),
            await start_child("shipment", {"order": 2}, key="k"),
        )
        return {"log": [first == second, third == fourth]}

    app = App({"order": graph_of(order), "shipment": shipment()}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app):
        assert await handle.result(20) == {"log": [False, True]}


async def test_a_child_is_kept_in_the_state_and_awaited_by_a_later_node(saver: Checkpointer) -> None:
    class Kept(TypedDict, total=False):
        child: ChildRun
        log: Annotated[list[Any], add]

    async def begin(state: Kept) -> Any:
        return {"child": await start_child("shipment", {"order": 5})}

    async def end(state: Kept) -> Any:
        output, again = await state["child"].result(), await state["child"].result()
        return {"log": [output["parcel"].number, again["parcel"].number]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(Kept)
    builder.add_sequence([begin, end])
    builder.add_edge(START, "begin")
    app = App({"order": builder.compile(), "shipment": shipment()}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app):
        assert (await handle.result(20))["log"] == [5, 5]


async def test_tasks_and_nested_graphs_start_children(saver: Checkpointer) -> None:
    @task
    async def fetch(number: int) -> int:
        child = await start_child("shipment", {"order": number})
        return int((await child.result())["parcel"].number)

    async def outer(state: State) -> Any:
        return {"log": [await fetch(3)]}

    async def inner(state: State) -> Any:
        child = await start_child("shipment", {"order": 4})
        return {"log": [(await child.result())["parcel"].number]}

    nested: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    nested.add_node("nested", graph_of(inner))
    nested.add_edge(START, "nested")
    app = App({"task": graph_of(outer), "nested": nested.compile(), "shipment": shipment()}, saver)
    async with run_app(app):
        for name, number in (("task", 3), ("nested", 4)):
            handle = await app.start(name, {}, thread_id=name)
            assert await handle.result(20) == {"log": [number]}


async def test_the_failure_of_a_child_is_raised_in_its_parent(saver: Checkpointer) -> None:
    found: list[ChildFailedError] = []

    async def order(state: State) -> Any:
        child = await start_child("failing", {})
        try:
            await child.result()
        except ChildFailedError as error:
            found.append(error)
            return {"log": [*caught(error)["log"], error.run_id == child.run_id]}
        return {}

    app = App({"order": graph_of(order), "failing": graph_of(fail)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app):
        kind, error, is_its_own = (await handle.result(20))["log"]
    assert (kind, is_its_own) == ("failed", True)
    assert "no stock" in error
    assert "no stock" in str(found[0])


async def test_a_recorded_failure_stays_when_the_child_is_retried(saver: Checkpointer) -> None:
    attempts: list[str] = []

    async def fail_once(state: State) -> Any:
        attempts.append("child")
        if len(attempts) == 1:
            message = "no stock"
            raise ValueError(message)
        return {"log": [await receive("never")]}

    async def order(state: State) -> Any:
        child = await start_child("failing", {})
        try:
            await child.result()
        except ChildFailedError as error:
            return {"log": [error.error, child.run_id, await receive("go on")]}
        return {}

    app = App({"order": graph_of(order), "failing": graph_of(fail_once)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        (failed,) = await app.runs(graph="failing")
        await app.retry(failed.run_id)
        await running.settle()
        await app.signal("t", "go on", "now")
        assert (await handle.result(20))["log"] == ["ValueError('no stock')", failed.run_id, "now"]
    assert len(attempts) == 2


async def test_a_failure_that_the_node_does_not_catch_fails_the_parent(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        return await (await start_child("failing", {})).result()

    app = App({"order": graph_of(order), "failing": graph_of(fail)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app):
        with pytest.raises(RunFailedError, match=r"ChildFailedError.*no stock"):
            await handle.result(20)


async def test_a_cancelled_child_is_a_failure_of_its_kind(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        child = await start_child("waiting", {})
        try:
            return await child.result()
        except ChildFailedError as error:
            return caught(error)

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        await app.cancel((await handle.status()).children[0], "not needed")
        assert await handle.result(20) == {"log": ["cancelled", "not needed"]}


async def test_a_child_that_reaches_its_deadline_is_a_failure_of_its_kind(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        child = await start_child("waiting", {}, deadline=timedelta(hours=1))
        try:
            return await child.result()
        except ChildFailedError as error:
            return caught(error)

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        app.store.skew += 2 * 3600 * 1_000_000
        await app.store.fail_overdue()
        kind, _ = (await handle.result(20))["log"]
    assert kind == "deadline"


async def test_the_deletion_of_a_child_wakes_its_parent_with_an_error(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        child = await start_child("waiting", {})
        try:
            return await child.result()
        except UnknownRunError as error:
            return {"log": [error.run_id == child.run_id]}

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        child = await app.find((await handle.status()).children[0])
        await saver.delete_thread(child.thread_id)
        await running.settle()
        assert await handle.result(20) == {"log": [True]}


async def test_a_parent_waits_for_a_child_for_a_limited_time(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        child = await start_child("waiting", {})
        try:
            return await child.result(timeout=timedelta(hours=1))
        except TimeoutError:
            return {"log": [(await child.status()).state]}

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        app.store.skew += 2 * 3600 * 1_000_000
        assert await handle.result(20) == {"log": ["waiting"]}


@pytest.mark.parametrize(("on_parent", "state"), [("cancel", "cancelled"), ("abandon", "waiting")])
async def test_a_cancelled_parent_cancels_or_leaves_its_children(
    saver: Checkpointer, on_parent: Any, state: str
) -> None:
    async def order(state: State) -> Any:
        return await (await start_child("middle", {}, on_parent=on_parent)).result()

    async def middle(state: State) -> Any:
        return await (await start_child("waiting", {}, on_parent=on_parent)).result()

    app = App({"order": graph_of(order), "middle": graph_of(middle), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        await handle.cancel()
        await running.settle()
        for name in ("middle", "waiting"):
            (child,) = await app.runs(graph=name)
            assert child.state == state
            assert child.error == (None if state == "waiting" else "its parent was cancelled")


async def test_a_parent_that_is_cancelled_in_a_node_cancels_its_children(saver: Checkpointer) -> None:
    began = asyncio.Event()

    async def order(state: State) -> Any:
        await start_child("waiting", {})
        began.set()
        await asyncio.Event().wait()
        return {}

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with app.worker(grace=0):
        await began.wait()
        (child_id,) = (await handle.status()).children
        await handle.cancel(wait=True)
        child = await app.find(child_id)
        with pytest.raises(RunFailedError, match="its parent was cancelled"):
            await child.result(20)


async def test_the_upkeep_cancels_children_after_a_crash_between_parent_and_child(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        return await (await start_child("waiting", {})).result()

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
    (child_id,) = (await handle.status()).children
    row = await app.store.find_unfinished("t")
    assert row is not None
    # The process ends after the first transaction.
    await app.store.cancel_run("t", row.seq, "by a process that ended")
    assert await app.store.find_orphans() != []
    async with app.worker() as worker:
        await worker._upkeep.once()
    assert (await (await app.find(child_id)).status()).state == "cancelled"
    assert await app.store.find_orphans() == []


async def test_a_child_ends_without_error_after_its_parent(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        await start_child("waiting", {})
        return {"log": ["done"]}

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        assert await handle.result(20) == {"log": ["done"]}
        await running.settle()
        (child,) = await app.runs(graph="waiting")
        await app.signal(child.thread_id, "parcel", 1)
        assert await (await app.find(child.run_id)).result(20) == {"log": [1]}


async def test_a_parent_that_is_cancelled_while_its_child_ends_loses_nothing(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        return await (await start_child("waiting", {}, on_parent="abandon")).result()

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    for number in range(4):
        handle = await app.start("order", {}, thread_id=f"t{number}")
        async with run_app(app) as running:
            await running.settle()
            (child_id,) = (await handle.status()).children
            child = await app.find(child_id)
            await asyncio.gather(app.signal(child.thread_id, "parcel", number), handle.cancel())
            assert await child.result(20) == {"log": [number]}
            await running.settle()
        assert await state_of(handle) in ("cancelled", "done")


async def test_a_retried_parent_finds_its_children(saver: Checkpointer) -> None:
    attempts: list[int] = []

    async def order(state: State) -> Any:
        child = await start_child("shipment", {"order": 1})
        attempts.append(1)
        if len(attempts) == 1:
            message = "once"
            raise ValueError(message)
        return {"log": [(await child.result())["parcel"].number]}

    app = App({"order": graph_of(order), "shipment": shipment()}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        with pytest.raises(RunFailedError, match="once"):
            await handle.result(20)
        await running.settle()
        again = await app.retry(handle.run_id)
        assert await again.result(20) == {"log": [1]}
    assert len(await app.runs(graph="shipment")) == 1


async def test_a_quarantined_child_has_not_ended_until_it_is_retried(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        return await (await start_child("waiting", {})).result()

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        assert await state_of(handle) == "waiting"
    (child_id,) = (await handle.status()).children
    child = await app.find(child_id)
    runs = runs_of(saver)
    await app.signal(child.thread_id, "parcel", 1)
    await runs.register(NewWorker(77, 60_000_000, "dying"))
    assert len(await runs.claim(77, ["waiting"], 1)) == 1
    runs.lease_skew += 100_000_000
    assert (await runs.sweep(1)).quarantined == 1
    assert await state_of(handle) == "waiting"
    await app.retry(child.run_id)
    async with run_app(app):
        assert await handle.result(20) == {"log": [1]}


async def test_a_child_that_asks_shows_its_question_at_the_parent(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        return await (await start_child("middle", {})).result()

    async def middle(state: State) -> Any:
        return await (await start_child("asking", {})).result()

    app = App({"order": graph_of(order), "middle": graph_of(middle), "asking": graph_of(ask)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    assert await app.questions("t") == []
    async with run_app(app) as running:
        await running.settle()
        (question,) = await app.questions("t")
        assert (question.graph, question.interrupt.value) == ("asking", "ok?")
        (asking,) = await app.runs(graph="asking")
        assert (question.thread_id, question.run_id) == (asking.thread_id, asking.run_id)
        with pytest.raises(UnknownInterruptError):
            await app.answer("t", "yes", interrupt_id="0" * 32)
        both = await asyncio.gather(
            *(app.answer("t", answer, interrupt_id=question.interrupt.id) for answer in ("yes", "yes")),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in both) == ["InterruptAnsweredError", "tuple"]
        assert await handle.result(20) == {"log": ["yes"]}
    assert await app.questions("t") == []


async def test_an_unknown_graph_and_wrong_options_are_errors_of_the_call(saver: Checkpointer) -> None:
    errors: list[str] = []

    async def order(state: State) -> Any:
        calls: tuple[Callable[[], Awaitable[ChildRun]], ...] = (
            lambda: start_child("nobody", {}),
            lambda: start_child("waiting", {}, on_parent="ignore"),  # type: ignore[arg-type]
            lambda: start_child("waiting", {}, key=""),
            lambda: start_child("waiting", {}, thread_id="t"),
            lambda: start_child("waiting", {"log": object()}),
        )
        for call in calls:
            try:
                await call()
            except (UnknownNameError, InvalidOptionError, ValueError, TypeError) as error:
                errors.append(type(error).__name__)
        return {}

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app):
        await handle.result(20)
    assert errors == ["UnknownNameError", *["InvalidOptionError"] * 3, "UnstorableValueError"]
    assert await app.runs(graph="waiting") == []


@pytest.mark.parametrize("key", [None, "k"])
async def test_another_input_in_the_same_place_is_an_error(saver: Checkpointer, key: str | None) -> None:
    attempts: list[int] = []

    async def order(state: State) -> Any:
        attempts.append(1)
        return await (await start_child("waiting", {"log": [len(attempts)]}, key=key)).result()

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        (child,) = await app.runs(graph="waiting")
        await app.signal(child.thread_id, "parcel", 1)
        with pytest.raises(RunFailedError, match=r"ReplayMismatchError|KeyReusedError"):
            await handle.result(20)


async def test_an_id_of_no_run_and_a_wrong_timeout_are_errors(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        found = []
        child = await start_child("waiting", {})
        for call in (
            ChildRun("waiting", "t", "no id").result,
            ChildRun("waiting", "t", child.run_id[:-1] + ("0" if child.run_id[-1] != "0" else "1")).status,
            partial(child.result, timeout="soon"),  # type: ignore[arg-type]
        ):
            try:
                await call()
            except (UnknownRunError, InvalidOptionError) as error:
                found.append(type(error).__name__)
        return {"log": found}

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    handle = await app.start("order", {}, thread_id="t")
    async with run_app(app):
        assert (await handle.result(20))["log"] == ["UnknownRunError", "UnknownRunError", "InvalidOptionError"]


async def test_a_child_ends_without_error_after_its_parent_was_deleted(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        return await (await start_child("waiting", {})).result()

    app = App({"order": graph_of(order), "waiting": graph_of(wait)}, saver)
    await app.start("order", {}, thread_id="t")
    async with run_app(app) as running:
        await running.settle()
        await saver.delete_thread("t", purge=True)
        (child,) = await app.runs(graph="waiting")
        await app.signal(child.thread_id, "parcel", 1)
        assert await (await app.find(child.run_id)).result(20) == {"log": [1]}


async def test_a_plain_call_cannot_start_children(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        await start_child("order", {})
        return {}

    app = App({"order": graph_of(order)}, saver)
    with pytest.raises(OutsideOfWorkerError, match=r"App\.start or App\.run") as caught_error:
        await app.graph("order").ainvoke({}, thread_id="t")
    assert caught_error.value.call == "start_child()"


async def test_many_parents_with_few_slots_end_without_a_deadlock(saver: Checkpointer) -> None:
    async def order(state: State) -> Any:
        children = [await start_child("shipment", {"order": number}) for number in range(3)]
        return {"log": [(await child.result())["parcel"].number for child in children]}

    app = App({"order": graph_of(order), "shipment": shipment()}, saver)
    handles = [await app.start("order", {}, thread_id=f"t{number}") for number in range(12)]
    async with run_app(app, concurrency=2):
        for handle in handles:
            assert await handle.result(60) == {"log": [0, 1, 2]}
