"""A recorded result reaches the call it was recorded for, by task and arguments, in any order of calls."""

import array
import asyncio
from typing import Any

import pytest

from durable_graph import (
    Checkpointer,
    Command,
    Durability,
    InvalidCallError,
    ReplayMismatchError,
    RetryPolicy,
    ThreadBusyError,
    UnknownNameError,
    UnknownThreadError,
    entrypoint,
    interrupt,
    task,
)
from durable_graph.testing.crash import CrashingSaver
from tests.errors.kinds import of_kind
from tests.graphs import THREAD, Nodes


class Plain:
    """An object whose content the library cannot read."""

    def __init__(self, name: str) -> None:
        self.name = name


class Shop:
    """Tasks that note their calls, in an entrypoint whose body the test replaces for each attempt."""

    def __init__(self, saver: Checkpointer) -> None:
        self.calls = Nodes()
        self.body: Any = None
        note = self.calls.note

        @task
        async def pay(what: Any) -> str:
            note(f"pay {shown(what)}")
            return f"paid {shown(what)}"

        @task
        async def ship(what: Any) -> str:
            note(f"ship {shown(what)}")
            return f"shipped {shown(what)}"

        @entrypoint(checkpointer=saver)
        async def flow(_: int) -> Any:
            return await self.body()

        self.pay: Any = pay
        self.ship: Any = ship
        self.flow: Any = flow

    async def crash(self, body: Any) -> None:
        """An attempt that is cancelled after its body, as by a stopped process. Its recorded calls stay."""

        async def cancelled() -> None:
            await body()
            has_ended.set()
            await asyncio.Event().wait()

        has_ended = asyncio.Event()
        self.body = cancelled
        run = asyncio.create_task(self.flow.ainvoke(1, THREAD))
        await has_ended.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        self.calls.taken()

    async def again(self, body: Any) -> Any:
        """The next attempt."""
        self.body = body
        return await self.flow.ainvoke(None, THREAD)


def shown(what: Any) -> str:
    match what:
        case Plain():
            return what.name
        case array.array():
            return f"{what[0]}"
    return f"{what}"


@pytest.fixture
async def shop(saver: Checkpointer) -> Shop:
    return Shop(saver)


# Concurrent calls


async def test_concurrent_calls_in_another_order_get_their_own_results(shop: Shop) -> None:
    async def race(*names: str) -> dict[str, str]:
        return dict(zip(names, await asyncio.gather(*(shop.pay(name) for name in names)), strict=True))

    await shop.crash(lambda: race("amy", "bob", "eve"))

    assert await shop.again(lambda: race("eve", "amy", "bob")) == {
        name: f"paid {name}" for name in ("eve", "amy", "bob")
    }
    assert shop.calls.taken() == []


@pytest.mark.parametrize("recorded", [("amy",), ("bob",), ("eve", "amy")])
async def test_only_unrecorded_calls_run_among_concurrent_calls(shop: Shop, recorded: tuple[str, ...]) -> None:
    names = ("amy", "bob", "eve")

    async def first() -> None:
        # As if the process had died before the other calls finished.
        await asyncio.gather(*(shop.pay(name) for name in recorded))

    async def race() -> list[str]:
        return list(await asyncio.gather(*(shop.pay(name) for name in reversed(names))))

    await shop.crash(first if len(recorded) > 1 else lambda: asyncio.gather(shop.pay(recorded[0]), asyncio.sleep(0)))
    if len(recorded) == 1:
        # A single call is sequential, so another call in its place could be one with a changed argument.
        async def in_tasks() -> list[str]:
            async def one(name: str) -> str:
                result: str = await shop.pay(name)
                return result

            return list(await asyncio.gather(*(one(name) for name in reversed(names))))

        assert await shop.again(in_tasks) == ["paid eve", "paid bob", "paid amy"]
    else:
        assert await shop.again(race) == ["paid eve", "paid bob", "paid amy"]
    assert sorted(shop.calls.taken()) == sorted(f"pay {name}" for name in names if name not in recorded)


async def test_equal_concurrent_calls_each_run_once(shop: Shop) -> None:
    await shop.crash(lambda: asyncio.gather(shop.pay("it"), shop.pay("it")))

    assert await shop.again(lambda: asyncio.gather(shop.pay("it"), shop.pay("it"), shop.pay("it"))) == ["paid it"] * 3
    assert shop.calls.taken() == ["pay it"]


async def test_arrays_are_distinguished_by_their_content(shop: Shop) -> None:
    one, two = array.array("b", [1]), array.array("b", [2])
    await shop.crash(lambda: asyncio.gather(shop.pay(one), shop.pay(two)))

    assert await shop.again(lambda: asyncio.gather(shop.pay(two), shop.pay(one))) == ["paid 2", "paid 1"]
    assert shop.calls.taken() == []


async def test_overlapping_calls_that_differ_only_in_unreadable_arguments_are_refused(shop: Shop) -> None:
    async def one(name: str, *, is_late: bool) -> Any:
        if is_late:
            await first_is_over.wait()
        result = await shop.pay(Plain(name))
        first_is_over.set()
        return result

    first_is_over = asyncio.Event()
    shop.body = lambda: asyncio.gather(one("amy", is_late=False), one("bob", is_late=True))

    with pytest.raises(InvalidCallError, check=of_kind("overlapping"), match="differ only in Plain") as raised:
        await shop.flow.ainvoke(1, THREAD)
    assert raised.value.unreadable == ("Plain",)
    assert shop.calls.taken() == ["pay amy"]


async def test_concurrent_calls_may_share_one_unreadable_argument(shop: Shop) -> None:
    client = Plain("client")

    @task
    async def fetch(client: Plain, what: str) -> str:
        shop.calls.note(what)
        return f"{client.name} {what}"

    await shop.crash(lambda: asyncio.gather(fetch(client, "a"), fetch(client, "b")))

    again = await shop.again(lambda: asyncio.gather(fetch(client, "b"), fetch(client, "a")))
    assert again == ["client b", "client a"]
    assert shop.calls.taken() == []


async def test_sequential_calls_that_differ_only_in_unreadable_arguments_are_matched_by_their_order(
    shop: Shop,
) -> None:
    async def body() -> list[str]:
        return [await shop.pay(Plain("amy")), await shop.pay(Plain("bob"))]

    await shop.crash(body)

    assert await shop.again(body) == ["paid amy", "paid bob"]
    assert shop.calls.taken() == []


async def test_methods_of_two_objects_are_different_tasks(saver: Checkpointer) -> None:
    class Tool(tuple[str]):
        __slots__ = ()

        async def use(self, what: str) -> str:
            return f"{self[0]} {what}"

    hammer, saw = task(Tool(["hammer"]).use), task(Tool(["saw"]).use)
    attempts: list[int] = []

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> list[str]:
        attempts.append(1)
        tools = (hammer, saw) if len(attempts) == 1 else (saw, hammer)
        results = await asyncio.gather(*(tool("it") for tool in tools))
        if len(attempts) == 1:
            raise ConnectionError
        return list(results)

    with pytest.raises(ConnectionError):
        await flow.ainvoke(1, THREAD)
    assert await flow.ainvoke(None, THREAD) == ["saw it", "hammer it"]


async def test_tasks_of_tasks_get_their_own_results_in_any_order_of_their_callers(saver: Checkpointer) -> None:
    calls = Nodes()
    attempts: list[int] = []

    @task
    async def inner(name: str) -> str:
        calls.note(name)
        return name.upper()

    @task
    async def outer(name: str) -> str:
        found: str = await inner(name)
        if len(attempts) == 1:
            raise ConnectionError
        return found

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> list[Any]:
        attempts.append(1)
        names = ("amy", "bob") if len(attempts) == 1 else ("bob", "amy")
        return list(await asyncio.gather(*(outer(name) for name in names), return_exceptions=len(attempts) > 1))

    with pytest.raises(ConnectionError):
        await flow.ainvoke(1, THREAD)
    assert await flow.ainvoke(None, THREAD) == ["BOB", "AMY"]
    assert sorted(calls.taken()) == ["amy", "bob"]


# Sequential calls


async def test_a_call_whose_error_was_caught_runs_again_before_the_recorded_call_after_it(shop: Shop) -> None:
    @task
    async def first() -> str:
        shop.calls.note("first")
        raise ConnectionError

    async def body() -> str:
        try:
            await first()
        except ConnectionError:
            result: str = await shop.pay("instead")
            return result
        raise AssertionError

    await shop.crash(body)

    assert await shop.again(body) == "paid instead"
    assert shop.calls.taken() == ["first"]


async def test_a_changed_call_in_a_separate_asyncio_task_is_detected_at_the_end_of_the_run(shop: Shop) -> None:
    async def body(what: str) -> Any:
        return await asyncio.create_task(in_sequence(what))

    async def in_sequence(what: str) -> list[str]:
        return [await shop.pay("first"), await shop.pay(what)]

    await shop.crash(lambda: body("second"))

    with pytest.raises(ReplayMismatchError, match="without calling it again"):
        await shop.again(lambda: body("third"))
    assert (await shop.flow.aget_state(THREAD)).next == ("flow",)
    # The calls of this attempt are recorded as well, so neither body runs any call twice.
    assert shop.calls.taken() == ["pay third"]
    with pytest.raises(ReplayMismatchError):
        await shop.again(lambda: body("second"))
    assert shop.calls.taken() == []


async def test_a_mismatch_that_the_entrypoint_catches_still_fails_the_run(shop: Shop) -> None:
    await shop.crash(lambda: shop.pay("amy"))

    async def body() -> str:
        try:
            result: str = await shop.pay("bob")
        except ReplayMismatchError:
            return "never mind"
        return result

    with pytest.raises(ReplayMismatchError):
        await shop.again(body)
    assert shop.calls.taken() == []
    assert await shop.again(lambda: shop.pay("amy")) == "paid amy"


async def test_a_mismatch_is_not_retried_and_is_raised_again_by_the_next_resume(saver: Checkpointer) -> None:
    attempts: list[int] = []

    @task
    async def pay(number: int) -> int:
        return number

    @entrypoint(checkpointer=saver, retry_policy=RetryPolicy(max_attempts=9, initial_interval=0, retry_on=Exception))
    async def flow(_: int) -> Any:
        attempts.append(1)
        if len(attempts) > 1:
            return "nothing"
        await pay(1)
        return interrupt("go on?")

    await flow.ainvoke(1, THREAD)
    for given in (Command(resume=True), None, None):
        with pytest.raises(ReplayMismatchError):
            await flow.ainvoke(given, THREAD)
    assert len(attempts) == 4


async def test_an_attempt_after_a_failure_may_make_fewer_calls(saver: Checkpointer) -> None:
    attempts: list[int] = []

    @task
    async def pay(number: int) -> int:
        return number

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> Any:
        attempts.append(1)
        if len(attempts) > 1:
            return "nothing"
        await pay(1)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await flow.ainvoke(1, THREAD)
    assert await flow.ainvoke(None, THREAD) == "nothing"


async def test_a_retry_without_a_saver_finds_results_by_the_same_rules() -> None:
    calls = Nodes()
    attempts: list[int] = []

    @task
    async def pay(what: Any) -> str:
        calls.note(shown(what))
        return shown(what)

    @entrypoint(retry_policy=RetryPolicy(max_attempts=2, initial_interval=0, retry_on=ConnectionError))
    async def flow(_: int) -> Any:
        attempts.append(1)
        names = ("amy", "bob") if len(attempts) == 1 else ("bob", "amy")
        found = await asyncio.gather(*(pay(name) for name in names), *(pay(Plain(name)) for name in names))
        if len(attempts) == 1:
            raise ConnectionError
        return found

    assert await flow.ainvoke(1) == ["bob", "amy", "bob", "amy"]
    # The calls with unreadable arguments ran again.
    assert sorted(calls.taken()) == ["amy", "amy", "amy", "bob", "bob", "bob"]


# Discarded calls


async def test_adiscard_calls_drops_the_mismatched_call_and_keeps_all_others(shop: Shop, saver: Checkpointer) -> None:
    async def body(*payments: str) -> list[str]:
        paid = [await shop.pay(each) for each in payments]
        return [*paid, await shop.ship("it")]

    await shop.crash(lambda: body("first", "second"))
    with pytest.raises(ReplayMismatchError) as raised:
        await shop.again(lambda: body("first", "third"))
    assert (raised.value.thread_id, raised.value.task_id) == (
        "t",
        (await shop.flow.aget_state(THREAD)).tasks[0].id,
    )
    assert f"graph.adiscard_calls('t', '{raised.value.task_id}')" in str(raised.value)

    assert await shop.flow.adiscard_calls("t", raised.value.task_id) == 1
    assert await shop.flow.adiscard_calls("t", raised.value.task_id) == 0

    assert await shop.again(lambda: body("first", "third")) == ["paid first", "paid third", "shipped it"]
    assert shop.calls.taken() == ["pay third"]


async def test_adiscard_calls_drops_unclaimed_calls(shop: Shop) -> None:
    await shop.crash(lambda: asyncio.gather(shop.pay("first"), shop.pay("second"), shop.ship("it")))
    with pytest.raises(ReplayMismatchError) as raised:
        await shop.again(lambda: asyncio.gather(shop.pay("second")))

    assert await shop.flow.adiscard_calls("t", raised.value.task_id) == 2

    assert await shop.again(lambda: asyncio.gather(shop.pay("second"))) == ["paid second"]
    assert shop.calls.taken() == []


async def test_a_discarded_call_runs_again_if_it_is_called_again(shop: Shop) -> None:
    await shop.crash(lambda: shop.pay("first"))
    with pytest.raises(ReplayMismatchError) as raised:
        await shop.again(lambda: shop.pay("second"))
    await shop.flow.adiscard_calls("t", raised.value.task_id)

    assert await shop.again(lambda: shop.pay("first")) == "paid first"
    assert shop.calls.taken() == ["pay first"]


async def test_adiscard_calls_keeps_calls_that_a_later_attempt_has_claimed(shop: Shop) -> None:
    await shop.crash(lambda: shop.pay("first"))
    with pytest.raises(ReplayMismatchError) as raised:
        await shop.again(lambda: shop.pay("second"))

    async def fails() -> None:
        await shop.pay("first")
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await shop.again(fails)

    assert await shop.flow.adiscard_calls("t", raised.value.task_id) == 0
    assert await shop.again(lambda: shop.pay("first")) == "paid first"
    assert shop.calls.taken() == []


async def test_adiscard_calls_refuses_unknown_threads_and_tasks(shop: Shop) -> None:
    await shop.crash(lambda: shop.pay("first"))

    with pytest.raises(UnknownThreadError):
        await shop.flow.adiscard_calls("other", "0" * 32)
    with pytest.raises(UnknownNameError, check=of_kind("task"), match=r"its tasks: [0-9a-f]{32}"):
        await shop.flow.adiscard_calls("t", "0" * 32)


async def test_a_mismatch_error_with_long_names_is_short_and_says_how_to_continue(saver: Checkpointer) -> None:
    thread, names = "t" * 255, iter(["first" * 50, "second" * 50])

    @task(name="pay" * 50)
    async def pay(what: str) -> str:
        return what

    @entrypoint(checkpointer=saver, name="flow" * 50)
    async def flow(_: int) -> Any:
        await pay(next(names))
        return interrupt("go on?")

    await flow.ainvoke(1, thread_id=thread)
    with pytest.raises(ReplayMismatchError, match=r"adiscard_calls\(error.thread_id, error.task_id\)") as raised:
        await flow.ainvoke(Command(resume=1), thread_id=thread)

    assert len(f"{raised.value}") <= 400
    assert await flow.adiscard_calls(raised.value.thread_id or "", raised.value.task_id or "") == 1


# Two processes


async def test_two_processes_that_resume_at_the_same_time_in_different_orders_get_their_own_results(
    saver: Checkpointer,
) -> None:
    """Each process adopts a result that the other one recorded for the same call, and never for another call."""
    both_call, is_answered = asyncio.Barrier(2), asyncio.Event()

    def process(own: Checkpointer, *names: str) -> Any:
        @task
        async def pay(name: str) -> str:
            await both_call.wait()
            return f"{name} paid by {names[0]}'s process"

        @entrypoint(checkpointer=own, name="flow")
        async def flow(_: int) -> Any:
            if interrupt("go on?") == "yes":
                is_answered.set()
                return await asyncio.gather(*(pay(name) for name in names))
            return None

        return flow

    one, two = process(saver, "amy", "bob"), process(CrashingSaver(saver), "bob", "amy")
    asked: Any = await one.ainvoke(1, THREAD)
    (question,) = asked["__interrupt__"]

    async def resumed() -> Any:
        async with asyncio.timeout(20):
            return await two.ainvoke(None, THREAD)

    first = asyncio.create_task(one.ainvoke(Command(resume={question.id: "yes"}), THREAD))
    await is_answered.wait()
    results = await asyncio.gather(first, resumed(), return_exceptions=True)

    (state,) = [result for result in results if isinstance(result, list)]
    assert sorted(each.split()[0] for each in state) == ["amy", "bob"]
    assert [each.split()[0] for each in state] in (["amy", "bob"], ["bob", "amy"])


async def test_recorded_results_are_found_in_every_durability_mode(shop: Shop, durability: Durability) -> None:
    async def asks(*names: str) -> Any:
        found = await asyncio.gather(*(shop.pay(name) for name in names))
        return [*found, interrupt("go on?")]

    shop.body = lambda: asks("amy", "bob")
    await shop.flow.ainvoke(1, THREAD, durability=durability)
    shop.calls.taken()
    shop.body = lambda: asks("bob", "amy")

    assert await shop.flow.ainvoke(Command(resume=1), THREAD, durability=durability) == ["paid bob", "paid amy", 1]
    assert shop.calls.taken() == []


async def test_adiscard_calls_refuses_invalid_task_ids_and_busy_threads(saver: Checkpointer) -> None:
    @entrypoint(checkpointer=saver)
    async def ask(_: str) -> Any:
        with pytest.raises(ThreadBusyError) as busy:
            await ask.adiscard_calls("t", "0" * 32)
        assert "if_busy" not in str(busy.value)
        return interrupt("go on?")

    await ask.ainvoke("x", thread_id="t")
    given: list[Any] = ["", "0" * 32, None, 5, ["a"], {}]
    for task_id in given:
        with pytest.raises(UnknownNameError, check=of_kind("task")):
            await ask.adiscard_calls("t", task_id)


async def test_the_mismatch_error_counts_the_calls_that_were_not_repeated(saver: Checkpointer) -> None:
    @task
    async def pay(amount: int) -> int:
        return amount

    amounts = [1, 2, 3]

    @entrypoint(checkpointer=saver)
    async def settle(_: str) -> Any:
        await asyncio.gather(*map(pay, amounts))
        return interrupt("book?")

    await settle.ainvoke("x", thread_id="t")
    amounts.clear()
    with pytest.raises(ReplayMismatchError, match="the task 'pay' and 2 more"):
        await settle.ainvoke(Command(resume="yes"), thread_id="t")
