"""The options of a call are checked in a fixed order: key, busy, cancelled, unfinished, finished, new."""

import asyncio
import operator
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypedDict

import pytest

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    InvalidOptionError,
    KeyReusedError,
    NothingToResumeError,
    StateGraph,
    ThreadBusyError,
    ThreadCancelledError,
    ThreadFinishedError,
    UnfinishedThreadError,
)
from durable_graph.runs import App
from tests.runs.test_app import reached
from tests.runs.test_busy_threads import BEFORE, IfBusy, Work, given
from tests.runs.test_busy_threads import NEW as NEW_RUN


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


class Steps:
    def __init__(self, saver: Checkpointer) -> None:
        self.is_failing = False
        self.entered = asyncio.Event()
        self.open = asyncio.Event()

        async def work(state: State) -> dict[str, list[str]]:
            if self.is_failing:
                raise RuntimeError("shut")
            self.entered.set()
            await self.open.wait()
            return {"log": [f"did {state['log'][-1]}"]}

        builder = StateGraph(State).add_node("work", work).add_edge(START, "work")
        self.graph: CompiledGraph[Any] = builder.compile(saver)


async def new(steps: Steps) -> None:
    steps.open.set()


async def finished(steps: Steps) -> None:
    steps.open.set()
    await steps.graph.ainvoke({"log": ["old"]}, thread_id="t", key="old")


async def unfinished(steps: Steps) -> None:
    steps.is_failing = True
    with pytest.raises(RuntimeError):
        await steps.graph.ainvoke({"log": ["old"]}, thread_id="t", key="old")
    steps.is_failing = False
    steps.open.set()


async def cancelled(steps: Steps) -> None:
    await unfinished(steps)
    assert await steps.graph.acancel("t")


OLD = {"log": ["old"]}
NEW = {"log": ["new"]}
DONE_OLD = {"log": ["old", "did old"]}
AFTER_DONE = {"log": ["old", "did old", "new", "did new"]}
SUPERSEDED = {"log": ["old", "new", "did new"]}

TABLE: list[tuple[Any, dict[str, Any], Any, Any]] = [
    (new, {}, NEW, {"log": ["new", "did new"]}),
    (new, {}, None, NothingToResumeError),
    (new, {"if_finished": "reject"}, NEW, {"log": ["new", "did new"]}),
    (new, {"if_finished": "return"}, None, NothingToResumeError),
    (finished, {}, NEW, AFTER_DONE),
    (finished, {"if_finished": "run"}, NEW, AFTER_DONE),
    (finished, {"if_finished": "reject"}, NEW, ThreadFinishedError),
    (finished, {"if_finished": "return"}, NEW, DONE_OLD),
    (finished, {"if_finished": "reject"}, Command(goto="work"), ThreadFinishedError),
    (finished, {}, None, NothingToResumeError),
    (finished, {"if_finished": "reject"}, None, NothingToResumeError),
    (finished, {"if_finished": "return"}, None, DONE_OLD),
    (finished, {"if_unfinished": "reject"}, NEW, AFTER_DONE),
    (finished, {"key": "old", "if_finished": "reject"}, OLD, DONE_OLD),
    (unfinished, {}, NEW, SUPERSEDED),
    (unfinished, {"if_unfinished": "resume"}, NEW, AFTER_DONE),
    (unfinished, {"if_unfinished": "reject"}, NEW, UnfinishedThreadError),
    (unfinished, {"if_finished": "reject"}, NEW, SUPERSEDED),
    (unfinished, {"if_finished": "return"}, NEW, SUPERSEDED),
    (unfinished, {}, None, DONE_OLD),
    (unfinished, {"key": "old", "if_unfinished": "reject"}, OLD, DONE_OLD),
    (cancelled, {}, None, ThreadCancelledError),
    (cancelled, {"if_finished": "return"}, None, ThreadCancelledError),
    (cancelled, {}, Command(resume="yes"), ThreadCancelledError),
    (cancelled, {"key": "old"}, OLD, ThreadCancelledError),
    (cancelled, {}, NEW, SUPERSEDED),
    (cancelled, {"if_unfinished": "reject"}, NEW, UnfinishedThreadError),
]


@pytest.mark.parametrize(("thread", "options", "given", "expected"), TABLE)
async def test_options_and_the_status_of_the_thread_determine_the_outcome_of_a_call(
    saver: Checkpointer, thread: Callable[[Steps], Any], options: dict[str, Any], given: Any, expected: Any
) -> None:
    steps = Steps(saver)
    await thread(steps)
    call = steps.graph.ainvoke(given, thread_id="t", **options)
    if isinstance(expected, dict):
        assert await call == expected
    else:
        before = await saver.load("t")
        with pytest.raises(expected):
            await call
        assert await saver.load("t") == before


@pytest.mark.parametrize("options", [{}, {"if_finished": "return"}, {"if_unfinished": "resume"}, {"key": "new"}])
async def test_a_busy_thread_is_refused_before_all_options_except_a_known_key(
    saver: Checkpointer, options: dict[str, Any]
) -> None:
    steps = Steps(saver)
    busy = asyncio.create_task(steps.graph.ainvoke(OLD, thread_id="t"))
    await steps.entered.wait()
    with pytest.raises(ThreadBusyError):
        await steps.graph.ainvoke(NEW, thread_id="t", **options)
    waiting = asyncio.create_task(steps.graph.ainvoke(NEW, thread_id="t", if_busy="wait"))
    steps.open.set()
    assert await busy == DONE_OLD
    assert await waiting == AFTER_DONE


@pytest.mark.parametrize("options", [{"if_finished": "ignore"}, {"if_finished": None}, {"if_done": "run"}])
async def test_an_unknown_option_is_refused(saver: Checkpointer, options: dict[str, Any]) -> None:
    with pytest.raises((InvalidOptionError, TypeError)):
        await Steps(saver).graph.ainvoke(NEW, thread_id="t", **options)


async def test_a_known_key_is_checked_before_a_busy_thread_is_refused(saver: Checkpointer) -> None:
    steps = Steps(saver)
    await finished(steps)
    steps.entered.clear()
    steps.open.clear()
    busy = asyncio.create_task(steps.graph.ainvoke(NEW, thread_id="t", key="new"))
    await steps.entered.wait()

    assert await steps.graph.ainvoke(OLD, thread_id="t", key="old") == DONE_OLD
    with pytest.raises(KeyReusedError):
        await steps.graph.ainvoke(NEW, thread_id="t", key="old")
    with pytest.raises(ThreadBusyError):
        await steps.graph.ainvoke(NEW, thread_id="t", key="new")

    waiting = asyncio.create_task(steps.graph.ainvoke(NEW, thread_id="t", key="new", if_busy="wait"))
    steps.open.set()
    assert await busy == await waiting == AFTER_DONE


async def free(app: App, work: Work) -> None:
    """No run of the thread is unfinished."""


async def ready(app: App, work: Work) -> None:
    await app.start("work", given("old"), thread_id="t", delay=1)


async def waiting(app: App, work: Work) -> None:
    old = await app.start("work", given("ask"), thread_id="t")
    await reached(old, "waiting")


async def running(app: App, work: Work) -> None:
    await app.start("work", given("hold"), thread_id="t")
    await work.entered.wait()


OLD_RUN = ["old", "began old", "did old"]
HELD_RUN = ["hold", "began hold", "did hold"]

STARTS: list[tuple[Any, IfBusy | Literal["reject"], Any]] = [
    (free, "wait", [*BEFORE, *NEW_RUN]),
    (free, "reject", [*BEFORE, *NEW_RUN]),
    (free, "interrupt", [*BEFORE, *NEW_RUN]),
    (free, "rollback", [*BEFORE, *NEW_RUN]),
    (ready, "wait", [*BEFORE, *OLD_RUN, *NEW_RUN]),
    (ready, "reject", ThreadBusyError),
    (ready, "interrupt", [*BEFORE, *NEW_RUN]),
    (ready, "rollback", [*BEFORE, *NEW_RUN]),
    (waiting, "wait", "blocked"),
    (waiting, "reject", ThreadBusyError),
    (waiting, "interrupt", [*BEFORE, "ask", "began ask", *NEW_RUN]),
    (waiting, "rollback", [*BEFORE, *NEW_RUN]),
    (running, "wait", [*BEFORE, *HELD_RUN, *NEW_RUN]),
    (running, "reject", ThreadBusyError),
    (running, "interrupt", [*BEFORE, "hold", "began hold", *NEW_RUN]),
    (running, "rollback", [*BEFORE, *NEW_RUN]),
]


@pytest.mark.parametrize(("thread", "if_busy", "expected"), STARTS)
async def test_a_run_of_a_busy_thread_waits_or_is_refused_or_cancels_the_run_before_it(
    saver: Checkpointer, thread: Callable[[App, Work], Any], if_busy: Any, expected: Any
) -> None:
    work = Work()
    app = App({"work": work.graph}, saver)
    async with app.worker(lease=0.15):
        await (await app.start("work", given("first"), thread_id="t")).result(20)
        await thread(app, work)
        starting = app.start("work", given("new"), thread_id="t", if_busy=if_busy)
        if expected is ThreadBusyError:
            with pytest.raises(ThreadBusyError):
                await starting
        elif expected == "blocked":
            assert (await (await starting).status()).state == "blocked"
        else:
            new = await starting
            if if_busy == "wait":
                work.open.set()
            assert await new.result(20) == {"log": expected}
        work.open.set()
