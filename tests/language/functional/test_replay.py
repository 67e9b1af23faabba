"""A function that runs again gets the recorded results of its calls, by task and arguments, in any order of calls."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from durable_graph import Checkpointer, Command, Durability, ReplayMismatchError, entrypoint, interrupt, task
from tests.graphs import THREAD, Nodes, history, questions_of

pytestmark = pytest.mark.every_store


class Account:
    """Tasks that note their calls, and an entrypoint that calls them in a given order."""

    def __init__(self, saver: Checkpointer) -> None:
        self.calls = Nodes()
        self.order: list[Any] = []

        @task
        async def debit(amount: int) -> str:
            self.calls.note(f"debit {amount}")
            return f"debited {amount}"

        @task
        async def credit(amount: int) -> str:
            self.calls.note(f"credit {amount}")
            return f"credited {amount}"

        tasks: dict[str, Any] = {"debit": debit, "credit": credit}

        @entrypoint(checkpointer=saver)
        async def transfer(_: int) -> list[str]:
            results = [await tasks[name](amount) for name, amount in self.order]
            interrupt("go on?")
            return results

        self.transfer: Any = transfer

    async def until_interrupted(self, *order: Any, durability: Durability = "sync") -> None:
        """Run to the interrupt, with these calls."""
        self.order = [*order]
        assert questions_of(await self.transfer.ainvoke(1, THREAD, durability=durability)) == ["go on?"]
        self.calls.taken()

    async def resume_with(self, *order: Any) -> Any:
        """Answer the interrupt, with these calls in the second attempt."""
        self.order = [*order]
        return await self.transfer.ainvoke(Command(resume=True), THREAD)


@pytest.fixture
async def account(saver: Checkpointer) -> Account:
    return Account(saver)


DEBIT, CREDIT = ("debit", 1), ("credit", 1)


async def test_the_same_calls_get_their_recorded_results_and_do_not_run_again(
    account: Account, durability: Durability
) -> None:
    await account.until_interrupted(DEBIT, CREDIT, durability=durability)

    assert await account.resume_with(DEBIT, CREDIT) == ["debited 1", "credited 1"]
    assert account.calls.taken() == []


async def test_calls_in_another_order_get_their_own_results(account: Account) -> None:
    await account.until_interrupted(DEBIT, CREDIT)

    assert await account.resume_with(CREDIT, DEBIT) == ["credited 1", "debited 1"]
    assert account.calls.taken() == []


async def test_calls_of_one_task_in_another_order_get_their_own_results(account: Account) -> None:
    await account.until_interrupted(("debit", 1), ("debit", 2))

    assert await account.resume_with(("debit", 2), ("debit", 1)) == ["debited 2", "debited 1"]
    assert account.calls.taken() == []


async def test_a_call_of_another_task_in_place_of_a_recorded_call_is_refused_before_it_runs(account: Account) -> None:
    """P10."""
    await account.until_interrupted(DEBIT)

    with pytest.raises(ReplayMismatchError) as raised:
        await account.resume_with(CREDIT)

    assert "debit" in raised.value.recorded
    assert "credit" in raised.value.called
    assert account.calls.taken() == []


async def test_other_arguments_in_place_of_recorded_ones_are_refused_before_the_task_runs(account: Account) -> None:
    """P10."""
    await account.until_interrupted(("debit", 1))

    with pytest.raises(ReplayMismatchError, match="with other arguments"):
        await account.resume_with(("debit", 100))
    assert account.calls.taken() == []


async def test_the_thread_continues_with_the_recorded_calls_after_a_mismatch(account: Account) -> None:
    """P10."""
    await account.until_interrupted(DEBIT, CREDIT)
    with pytest.raises(ReplayMismatchError):
        await account.resume_with(("debit", 2), CREDIT)
    account.order = [DEBIT, CREDIT]

    assert await account.transfer.ainvoke(None, THREAD) == ["debited 1", "credited 1"]
    assert account.calls.taken() == []


async def test_new_calls_after_the_recorded_calls_run(account: Account) -> None:
    await account.until_interrupted(DEBIT)

    assert await account.resume_with(DEBIT, CREDIT) == ["debited 1", "credited 1"]
    assert account.calls.taken() == ["credit 1"]


async def test_a_recorded_call_that_is_not_repeated_is_an_error_and_stays_recorded(account: Account) -> None:
    await account.until_interrupted(DEBIT, CREDIT)

    for _ in range(2):
        with pytest.raises(ReplayMismatchError, match="without calling it again") as raised:
            await account.resume_with(DEBIT) if account.order != [DEBIT] else await account.transfer.ainvoke(
                None, THREAD
            )
        assert "credit" in raised.value.recorded
    account.order = [DEBIT, CREDIT]

    assert await account.transfer.ainvoke(None, THREAD) == ["debited 1", "credited 1"]
    assert account.calls.taken() == []


async def test_a_fork_before_the_entrypoint_runs_all_calls_again(account: Account) -> None:
    await account.until_interrupted(DEBIT)
    await account.resume_with(DEBIT)
    account.order = [CREDIT]

    await account.transfer.ainvoke(None, (await history(account.transfer))[-1].config)

    assert account.calls.taken() == ["credit 1"]


async def test_new_input_runs_all_calls_again(account: Account) -> None:
    await account.until_interrupted(DEBIT)

    await account.until_interrupted(DEBIT)
    account.order = [DEBIT]
    await account.transfer.ainvoke(2, THREAD)

    assert account.calls.taken() == ["debit 1"]


async def test_keyword_and_positional_arguments_are_the_same_arguments(saver: Checkpointer) -> None:
    calls = Nodes()
    by_keyword = False

    @task
    async def add(a: int, b: int = 2) -> int:
        calls.note("add")
        return a + b

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> int:
        total = await (add(a=1, b=2) if by_keyword else add(1, 2))
        interrupt("go on?")
        return total

    await flow.ainvoke(1, THREAD)
    by_keyword = True

    assert await flow.ainvoke(Command(resume=True), THREAD) == 3
    assert calls.taken() == ["add"]


async def test_a_result_is_durable_before_its_caller_sees_it(saver: Checkpointer, durability: Durability) -> None:
    """P3."""
    recorded: list[int] = []
    saved = saver.save_writes

    async def counting(batch: Any) -> Any:
        answer = await saved(batch)
        recorded.append(len(batch.records))
        return answer

    @task
    async def work(number: int) -> int:
        return number

    seen: list[int] = []

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> None:
        for number in range(3):
            await work(number)
            seen.append(sum(recorded))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saver, "save_writes", counting)
        await flow.ainvoke(1, THREAD, durability=durability)

    assert seen == [1, 2, 3]


async def test_the_input_is_durable_before_the_first_call(saver: Checkpointer, durability: Durability) -> None:
    """P3."""
    seen: list[Any] = []

    @task
    async def look() -> None:
        state = await flow.aget_state(THREAD)
        seen.append(state.next)

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> None:
        await look()

    await flow.ainvoke(1, THREAD, durability=durability)

    assert seen == [("flow",)]


async def test_concurrent_calls_get_their_own_results_in_any_order_of_completion(saver: Checkpointer) -> None:
    first_may_end = asyncio.Event()
    calls = Nodes()

    @task
    async def work(number: int) -> int:
        calls.note(f"{number}")
        if number == 0:
            await first_may_end.wait()
        else:
            first_may_end.set()
        return number * 10

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> list[int]:
        results = await asyncio.gather(*(work(number) for number in range(3)))
        interrupt("go on?")
        return list(results)

    async with asyncio.timeout(20):
        await flow.ainvoke(1, THREAD)
        calls.taken()
        assert await flow.ainvoke(Command(resume=True), THREAD) == [0, 10, 20]
    assert calls.taken() == []


async def test_finished_calls_do_not_run_again_after_a_concurrent_call_has_failed(
    saver: Checkpointer, durability: Durability
) -> None:
    calls = Nodes()
    is_failing = True
    others_ended = asyncio.Barrier(2)

    @task
    async def work(number: int) -> int:
        calls.note(f"{number}")
        if is_failing and number == 1:
            await others_ended.wait()
            raise ConnectionError
        return number * 10

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> list[int]:
        first, bad = work(0), work(1)
        await first
        if is_failing:
            await others_ended.wait()
        return [await first, await bad]

    async with asyncio.timeout(20):
        with pytest.raises(ConnectionError):
            await flow.ainvoke(1, THREAD, durability=durability)
    is_failing = False
    calls.taken()

    assert await flow.ainvoke(None, THREAD, durability=durability) == [0, 10]
    assert calls.taken() == ["1"]


async def test_results_round_trip_with_their_types(saver: Checkpointer) -> None:
    value = {"tuple": (1, 2), "set": {1}, "when": datetime(2024, 1, 1, tzinfo=UTC), "sum": Decimal("1.10"), 1: b"x"}

    @task
    async def make() -> Any:
        return value

    @entrypoint(checkpointer=saver)
    async def flow(_: int) -> bool:
        found = await make()
        interrupt("go on?")
        return bool(found == value and type(found["tuple"]) is tuple)

    await flow.ainvoke(1, THREAD)
    assert await flow.ainvoke(Command(resume=True), THREAD) is True


async def test_an_int_is_not_rounded_when_its_task_is_annotated_with_float_later(saver: Checkpointer) -> None:
    async def older() -> int:
        return 2**53 + 1

    async def newer() -> float:
        raise AssertionError

    got: list[float] = []
    for function in (older, newer):
        counted = task(name="count")(function)

        @entrypoint(checkpointer=saver, name="flow")
        async def flow(_: str, counted: Any = counted) -> str:
            got.append(await counted())
            if len(got) == 1:
                raise ConnectionError
            return "done"

        if function is older:
            with pytest.raises(ConnectionError):
                await flow.ainvoke("in", THREAD)
        else:
            await flow.ainvoke(None, THREAD)

    assert got == [2**53 + 1] * 2
