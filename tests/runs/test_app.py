"""Runs that an `App` accepts and a worker executes: results, keys, answers, failures, cancelling, retrying."""

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    InMemorySaver,
    InterruptAnsweredError,
    InvalidInputError,
    InvalidOptionError,
    KeyReusedError,
    Runtime,
    StateGraph,
    ThreadBusyError,
    UnknownInterruptError,
    UnknownNameError,
    UnknownOptionError,
    WrongGraphError,
    interrupt,
)
from durable_graph.errors import MissingPowerError, RunFailedError, UnknownRunError
from durable_graph.runs import App, RunHandle, RunStatus
from durable_graph.testing import CrashingSaver

pytestmark = pytest.mark.every_store


class State(TypedDict, total=False):
    count: int
    answer: str


Node = Callable[[State], Any]


async def add(state: State) -> State:
    return {"count": state.get("count", 0) + 1}


async def ask(state: State) -> State:
    return {"answer": interrupt("ok?")}


def chain(*nodes: Node, name: str | None = None) -> CompiledGraph[Any, Any, Any, Any]:
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    before = START
    for number, node in enumerate(nodes):
        builder.add_node(f"n{number}", node)
        builder.add_edge(before, f"n{number}")
        before = f"n{number}"
    return builder.compile(name=name) if name is not None else builder.compile()


async def reached(handle: RunHandle, state: str) -> RunStatus:
    """The status of the run once it has this state."""
    async with asyncio.timeout(20):
        while (status := await handle.status()).state != state:  # noqa: ASYNC110  # the store has no event
            await asyncio.sleep(0.005)
    return status


async def test_a_worker_executes_an_accepted_run_and_any_caller_reads_its_output(saver: Checkpointer) -> None:
    app = App({"count": chain(add, add, add)}, saver)
    handle = await app.start("count", {"count": 4})
    assert (await handle.status()).state == "ready"
    async with app.worker():
        assert await handle.result(20) == {"count": 7}
    found = await App({"count": chain(add, add, add)}, saver).find(handle.run_id)
    status = await found.status()
    assert (status.state, status.attempt, status.crashes, status.worker) == ("done", 1, 0, None)
    assert status.has_ended
    assert await found.result() == {"count": 7}


async def test_a_chain_of_three_nodes_costs_three_commits(saver: Checkpointer) -> None:
    counting = CrashingSaver(saver)
    app = App({"count": chain(add, add, add)}, counting)
    handle = await app.start("count", {})
    async with app.worker():
        await handle.result(20)
    assert (counting.names.count("commit"), counting.names.count("save_writes")) == (3, 0)
    assert counting.names.count("settle") == 0
    history = [each async for each in app.graph("count").aget_state_history(thread_id=handle.thread_id)]
    assert [(each.metadata or {}).get("source") for each in history] == ["loop", "loop", "loop", "input"]
    # The input's checkpoint and that of the first superstep are of one commit.
    assert history[2].created_at == history[3].created_at


async def test_runs_of_one_thread_are_executed_in_the_order_of_their_acceptance(saver: Checkpointer) -> None:
    seen: list[int] = []

    async def see(state: State) -> State:
        seen.append(state["count"])
        return {}

    app = App({"see": chain(see)}, saver)
    handles = [await app.start("see", {"count": number}, thread_id="t") for number in range(3)]
    states = [(await each.status()).state for each in handles]
    assert states == ["ready", "blocked", "blocked"]
    async with app.worker(concurrency=3):
        await asyncio.gather(*(each.result(20) for each in handles))
    assert seen == [0, 1, 2]


async def test_a_busy_thread_refuses_a_run_if_the_caller_asks_for_that(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    first = await app.start("count", {}, thread_id="t")
    with pytest.raises(ThreadBusyError) as refused:
        await app.start("count", {}, thread_id="t", if_busy="reject")
    assert refused.value.run_id == first.run_id
    assert [each.run_id for each in await app.runs()] == [first.run_id]


async def test_a_thread_of_an_unfinished_run_refuses_calls_of_the_graph(saver: Checkpointer) -> None:
    app = App({"ask": chain(ask)}, saver)
    graph = app.graph("ask")
    handle = await app.start("ask", {}, thread_id="t")
    with pytest.raises(ThreadBusyError, match=r"app\.answer") as ready:
        await graph.ainvoke({}, thread_id="t")
    assert (ready.value.run_id, ready.value.worker) == (handle.run_id, None)
    async with app.worker():
        await reached(handle, "waiting")
    for call in (
        graph.ainvoke(Command(resume="no"), thread_id="t"),
        graph.ainvoke(None, thread_id="t"),
        graph.aupdate_state(values={"answer": "no"}, as_node="n0", thread_id="t"),
    ):
        with pytest.raises(ThreadBusyError):
            await call
    await app.answer("t", "yes")
    async with app.worker():
        assert await handle.result(20) == {"answer": "yes"}
    assert await graph.ainvoke({}, thread_id="t", if_finished="return") == {"answer": "yes"}


async def test_the_error_of_a_busy_thread_names_the_worker(saver: Checkpointer) -> None:
    began, end = asyncio.Event(), asyncio.Event()

    async def hold(state: State) -> State:
        began.set()
        await end.wait()
        return {"count": 1}

    app = App({"hold": chain(hold)}, saver)
    handle = await app.start("hold", {}, thread_id="t")
    async with app.worker():
        await began.wait()
        # Another saver object on the same store, as another process has it.
        other = App({"hold": chain(hold)}, CrashingSaver(saver)).graph("hold")
        with pytest.raises(ThreadBusyError) as busy:
            await other.aupdate_state(values={"count": 2}, as_node="n0", thread_id="t")
        with pytest.raises(ThreadBusyError):
            await other.ainvoke({}, thread_id="t")
        worker = (await handle.status()).worker
        end.set()
        assert await handle.result(20) == {"count": 1}
    assert worker is not None
    assert worker.endswith(f":{os.getpid()}")
    assert (busy.value.run_id, busy.value.worker) == (handle.run_id, worker)


async def test_a_graph_cancels_the_run_that_owns_its_thread(saver: Checkpointer) -> None:
    app = App({"ask": chain(ask)}, saver)
    handle = await app.start("ask", {}, thread_id="t")
    async with app.worker():
        await reached(handle, "waiting")
    assert await app.graph("ask").acancel("t")
    assert (await handle.status()).state == "cancelled"
    assert (await app.graph("ask").aget_state(thread_id="t")).status == "cancelled"


# Keys


async def test_a_key_starts_one_run(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    first = await app.start("count", {"count": 1}, key="order-7")
    again = await app.start("count", {"count": 1}, key="order-7")
    assert (again.run_id, again.thread_id, again.is_new) == (first.run_id, "run-order-7", False)
    async with app.worker():
        assert await again.result(20) == {"count": 2}
    late = await app.start("count", {"count": 1}, key="order-7")
    assert not late.is_new
    assert await late.result() == {"count": 2}
    assert len(await app.runs()) == 1


async def test_simultaneous_starts_with_one_key_are_one_run(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    handles = await asyncio.gather(*(app.start("count", {"count": 1}, key="k") for _ in range(20)))
    assert len({each.run_id for each in handles}) == 1
    assert sum(each.is_new for each in handles) == 1


async def test_a_key_of_another_input_is_refused(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    await app.start("count", {"count": 1}, key="k")
    with pytest.raises(KeyReusedError, match="another request under the key 'k'"):
        await app.start("count", {"count": 2}, key="k")
    assert len(await app.runs()) == 1


# Answers


async def test_an_answer_is_recorded_and_wakes_the_run(saver: Checkpointer) -> None:
    app = App({"ask": chain(ask, add)}, saver)
    handle = await app.start("ask", {}, thread_id="t")
    async with app.worker():
        await reached(handle, "waiting")
        answered = await app.answer("t", "yes")
        assert len(answered) == 1
        assert await handle.result(20) == {"answer": "yes", "count": 1}


async def test_an_answer_without_a_worker_makes_the_run_ready(saver: Checkpointer) -> None:
    app = App({"ask": chain(ask)}, saver)
    handle = await app.start("ask", {}, thread_id="t")
    async with app.worker():
        await reached(handle, "waiting")
    await app.answer("t", "yes")
    assert (await handle.status()).state == "ready"
    async with app.worker():
        assert await handle.result(20) == {"answer": "yes"}


async def test_the_second_answer_is_refused_with_the_first_one(saver: Checkpointer) -> None:
    app = App({"ask": chain(ask)}, saver)
    handle = await app.start("ask", {}, thread_id="t")
    async with app.worker():
        await reached(handle, "waiting")
    (id_,) = await app.answer("t", "yes")
    with pytest.raises(InterruptAnsweredError) as refused:
        await app.answer("t", "no", interrupt_id=id_)
    assert refused.value.answers == {id_: "yes"}
    with pytest.raises(UnknownInterruptError):
        await app.answer("t", "no", interrupt_id="0" * 32)


async def test_an_answer_while_a_sibling_runs_reaches_its_node(saver: Checkpointer) -> None:
    release = asyncio.Event()
    began = asyncio.Event()

    async def slow(state: State) -> State:
        began.set()
        await release.wait()
        return {"count": 1}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_node("slow", slow)
    builder.add_edge(START, "ask")
    builder.add_edge(START, "slow")
    app = App({"both": builder.compile()}, saver)
    handle = await app.start("both", {}, thread_id="t")
    async with app.worker():
        await began.wait()
        async with asyncio.timeout(20):
            while not (await app.graph("both").aget_state(thread_id="t")).interrupts:  # noqa: ASYNC110  # the store has no event
                await asyncio.sleep(0.005)
        await app.answer("t", "yes")
        release.set()
        assert await handle.result(20) == {"answer": "yes", "count": 1}


async def test_a_thread_without_an_unfinished_run_takes_no_answer(saver: Checkpointer) -> None:
    app = App({"ask": chain(ask)}, saver)
    with pytest.raises(UnknownRunError, match="has no unfinished run"):
        await app.answer("t", "yes")


# Ends without a result


async def fail(state: State) -> State:
    message = "no paper"
    raise ValueError(message)


async def test_a_failed_run_reports_its_error_and_continues_when_it_is_retried(saver: Checkpointer) -> None:
    is_broken = True
    calls: list[str] = []

    async def first(state: State) -> State:
        calls.append("first")
        return {"count": 1}

    async def second(state: State) -> State:
        if is_broken:
            message = "no paper"
            raise ValueError(message)
        return {"answer": "printed"}

    app = App({"print": chain(first, second)}, saver)
    handle = await app.start("print", {})
    async with app.worker():
        with pytest.raises(RunFailedError, match="no paper") as failed:
            await handle.result(20)
        assert failed.value.kind == "failed"
        is_broken = False
        await app.retry(handle.run_id)
        assert await handle.result(20) == {"count": 1, "answer": "printed"}
    assert calls == ["first"]


async def test_a_run_that_fails_in_its_first_node_keeps_its_input_for_a_retry(saver: Checkpointer) -> None:
    is_broken = True

    async def node(state: State) -> State:
        if is_broken:
            message = "no paper"
            raise ValueError(message)
        return {"count": state["count"] + 1}

    app = App({"one": chain(node)}, saver)
    handle = await app.start("one", {"count": 5})
    async with app.worker():
        await reached(handle, "failed")
        is_broken = False
        await app.retry(handle.run_id)
        assert await handle.result(20) == {"count": 6}


async def test_a_ready_run_is_cancelled_at_once_and_never_executed(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    handle = await app.start("count", {})
    assert (await handle.cancel("changed my mind")).state == "cancelled"
    async with app.worker():
        with pytest.raises(RunFailedError, match="changed my mind") as cancelled:
            await handle.result(20)
    assert cancelled.value.kind == "cancelled"


async def test_a_running_run_is_stopped_by_its_worker_and_keeps_what_has_finished(saver: Checkpointer) -> None:
    began = asyncio.Event()

    async def hang(state: State) -> State:
        began.set()
        await asyncio.Event().wait()
        return {}

    app = App({"hang": chain(add, hang)}, saver)
    handle = await app.start("hang", {}, thread_id="t")
    async with app.worker(lease=0.6):
        await began.wait()
        async with asyncio.timeout(20):
            status = await handle.cancel("changed my mind", wait=True)
    assert (status.state, status.error) == ("cancelled", "changed my mind")
    state = await app.graph("hang").aget_state(thread_id="t")
    assert (state.values, state.next) == ({"count": 1}, ("n1",))


async def test_a_run_in_its_first_node_is_cancelled_on_a_new_thread_and_on_a_used_one(saver: Checkpointer) -> None:
    began = asyncio.Event()

    async def hang(state: State) -> State:
        if state["count"]:
            began.set()
            await asyncio.Event().wait()
        return {}

    app = App({"hang": chain(hang)}, saver)
    async with app.worker(lease=0.6):
        await (await app.start("hang", {"count": 0}, thread_id="used")).result(20)
        for thread in ("new", "used"):
            began.clear()
            handle = await app.start("hang", {"count": 1}, thread_id=thread)
            await began.wait()
            async with asyncio.timeout(20):
                assert (await handle.cancel("stop", wait=True)).state == "cancelled"


async def test_a_cancelled_run_lets_the_next_run_of_its_thread_begin(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    first = await app.start("count", {"count": 1}, thread_id="t")
    second = await app.start("count", {"count": 10}, thread_id="t")
    await first.cancel()
    async with app.worker():
        assert await second.result(20) == {"count": 11}


async def test_a_run_whose_deadline_passes_fails(saver: Checkpointer) -> None:
    async def hang(state: State) -> State:
        await asyncio.Event().wait()
        return {}

    app = App({"hang": chain(hang)}, saver)
    handle = await app.start("hang", {}, deadline=timedelta(milliseconds=50))
    async with app.worker():
        with pytest.raises(RunFailedError, match="deadline") as late:
            await handle.result(20)
    assert late.value.kind == "deadline"


async def test_a_blocked_run_fails_by_its_deadline_while_the_run_before_it_continues(saver: Checkpointer) -> None:
    is_open = asyncio.Event()

    async def hold(state: State) -> State:
        await is_open.wait()
        return {}

    app = App({"hold": chain(hold)}, saver)
    async with app.worker():
        first = await app.start("hold", {}, thread_id="t")
        second = await app.start("hold", {}, thread_id="t", deadline=timedelta(milliseconds=50))
        third = await app.start("hold", {}, thread_id="t")
        with pytest.raises(RunFailedError, match="deadline") as late:
            await second.result(20)
        assert late.value.kind == "deadline"
        assert (await third.status()).state == "blocked"
        is_open.set()
        await first.result(20)
        await third.result(20)


async def test_a_run_without_a_free_slot_fails_by_its_deadline(saver: Checkpointer) -> None:
    is_open, has_begun = asyncio.Event(), asyncio.Event()

    async def hold(state: State) -> State:
        has_begun.set()
        await is_open.wait()
        return {}

    app = App({"hold": chain(hold)}, saver)
    async with app.worker(concurrency=1):
        first = await app.start("hold", {})
        await has_begun.wait()
        second = await app.start("hold", {}, thread_id="t", deadline=timedelta(milliseconds=50))
        with pytest.raises(RunFailedError, match="deadline"):
            await second.result(20)
        is_open.set()
        await first.result(20)


async def test_a_time_limit_of_a_waiting_caller_cancels_no_run(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    handle = await app.start("count", {})
    with pytest.raises(TimeoutError):
        await handle.result(0.01)
    assert (await handle.status()).state == "ready"


async def test_a_delayed_run_waits_for_its_time(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    now = await app.start("count", {})
    later = await app.start("count", {}, delay=timedelta(days=3))
    async with app.worker():
        await now.result(20)
        status = await later.status()
    assert (status.state, status.attempt) == ("ready", 0)
    assert status.due is not None
    assert status.accepted_at is not None
    assert status.due - status.accepted_at == timedelta(days=3)


async def test_run_executes_in_this_process_without_a_worker(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    assert await app.run("count", {"count": 1}, timeout=20) == {"count": 2}


# Contexts


class Settings(TypedDict):
    step: int


async def test_a_worker_makes_the_context_of_each_execution(saver: Checkpointer) -> None:
    async def node(state: State, runtime: Runtime[Settings]) -> State:
        return {"count": state["count"] + runtime.context["step"]}

    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State, context_schema=Settings)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    app = App({"add": builder.compile()}, saver, context={"add": lambda: {"step": 5}})
    assert await app.run("add", {"count": 1}, timeout=20) == {"count": 6}
    with pytest.raises(InvalidOptionError, match="context"):
        await App({"add": builder.compile()}, saver).start("add", {"count": 1})
    with pytest.raises(UnknownNameError, match="the app has no graph 'dad'"):
        App({"add": builder.compile()}, saver, context={"dad": lambda: {"step": 5}})


# Bad input


async def test_unknown_names_are_refused(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    with pytest.raises(UnknownNameError, match="the app has no graph 'cuont'; it has: count"):
        await app.start("cuont", {})
    # The last one has a key that is larger than that of any thread.
    unknown = ("65a55b6b-d4ff-8096-8c06-6167db4510e5", "3b8c0a53-7b0a-4b22-9a53-c5a0e0a2b0f1")
    for id_ in ("nonsense", *unknown, "ffffffff-ffff-8fff-bfff-ffffffffffff"):
        with pytest.raises(UnknownRunError):
            await app.find(id_)
    options: Any = {"durabilty": "sync"}
    with pytest.raises(UnknownOptionError, match="durabilty"):
        await app.start("count", {}, **options)
    assert await app.runs() == []


@pytest.mark.parametrize(
    "options",
    [
        {"delay": -1},
        {"delay": float("nan")},
        {"deadline": 0},
        {"priority": "urgent"},
        {"if_busy": "maybe"},
        {"recursion_limit": 0},
        {"durability": "never"},
        {"key": ""},
    ],
    ids=str,
)
async def test_impossible_options_are_refused_and_nothing_is_accepted(
    saver: Checkpointer, options: dict[str, Any]
) -> None:
    app = App({"count": chain(add)}, saver)
    with pytest.raises(InvalidOptionError):
        await app.start("count", {}, **options)
    assert await app.runs() == []


async def test_an_invalid_input_is_refused_when_the_run_is_started(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    with pytest.raises(InvalidInputError):
        await app.start("count", 7)
    with pytest.raises(InvalidOptionError, match=r"pass its thread_id"):
        await app.start("count", None)
    assert await app.runs() == []


async def test_a_thread_of_another_graph_takes_no_run(saver: Checkpointer) -> None:
    app = App({"count": chain(add), "ask": chain(ask)}, saver)
    await app.start("count", {}, thread_id="t")
    with pytest.raises(WrongGraphError):
        await app.start("ask", {}, thread_id="t")


async def test_a_graph_with_another_name_or_another_saver_is_refused(saver: Checkpointer) -> None:
    with pytest.raises(InvalidOptionError, match=r"graphs\['count'\]"):
        App({"count": chain(add, name="other")}, saver)
    builder: StateGraph[Any, Any, Any, Any] = StateGraph(State)
    builder.add_node("n", add)
    builder.add_edge(START, "n")
    with pytest.raises(InvalidOptionError, match="without a lone surrogate"):
        App({"\ud800": chain(add)}, saver)
    with pytest.raises(InvalidOptionError, match="without a checkpointer"):
        App({"count": builder.compile(InMemorySaver())}, saver)
    with pytest.raises(InvalidOptionError):
        App({}, saver)


def test_a_saver_without_the_power_to_keep_runs_is_named() -> None:
    class Narrow(InMemorySaver):
        def __init__(self) -> None:
            super().__init__()
            del self.runs

    with pytest.raises(MissingPowerError, match="Narrow"):
        App({"count": chain(add)}, Narrow())


async def test_a_deleted_thread_has_no_runs(saver: Checkpointer) -> None:
    app = App({"count": chain(add)}, saver)
    handle = await app.start("count", {}, thread_id="t")
    await app.graph("count").adelete_thread("t")
    with pytest.raises(UnknownRunError):
        await handle.result()
    again = await app.start("count", {}, thread_id="t")
    assert again.run_id != handle.run_id
    async with app.worker():
        assert await again.result(20) == {"count": 1}


async def test_listed_runs_are_filtered_by_graph_state_and_thread(saver: Checkpointer) -> None:
    app = App({"count": chain(add), "ask": chain(ask)}, saver)
    done = await app.start("count", {}, thread_id="a")
    async with app.worker():
        await done.result(20)
    ready = await app.start("ask", {}, thread_id="b")
    assert [each.run_id for each in await app.runs(graph="ask")] == [ready.run_id]
    assert [each.run_id for each in await app.runs(state="done")] == [done.run_id]
    assert [each.run_id for each in await app.runs(thread_id="b")] == [ready.run_id]
    (first,) = await app.runs(limit=1)
    assert [each.run_id for each in await app.runs(after=first)] == [ready.run_id]
    stats = await app.stats()
    assert [(each.queue, each.ready) for each in stats.queues] == [("ask", 1)]


def test_an_app_with_a_url_may_be_entered_again(tmp_path: Path) -> None:
    # A URL is opened before the event loop starts: that reads the installed packages' metadata.
    app = App({"count": chain(add)}, f"sqlite:///{tmp_path / 'runs.db'}")

    async def main() -> object:
        async with app:
            handle = await app.start("count", {})
        async with app, app.worker():
            return await handle.result(20)

    assert asyncio.run(main()) == {"count": 1}
