"""Group commit: commits of many runs that arrive while another commit is in progress share one statement."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from durable_graph.checkpointing.columns import key_of
from durable_graph.records import Committed, Conflict, Rank
from durable_graph.testing.conformance.saver_under_test import commit, loaded, save, some_thread
from durable_graph.testing.rows import Step, Writer, state_of
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.database import Database
from tests.postgres.proxy import Proxy, proxied
from tests.postgres.test_round_trips import chain
from tests.postgres.trips import named
from tests.savers import schema_of_its_own

RUNS, SUPERSTEPS = 50, 10


def statements(proxy: Proxy, schema: str) -> Counter[str]:
    return Counter(name for name in named(proxy.trips, schema) if not name.startswith("prepare"))


async def test_runs_that_commit_at_the_same_time_share_statements(postgres: str) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        proxied(postgres) as proxy,
        PostgresSaver(proxy.url, schema=schema, pool_size=4) as saver,
    ):
        graph = chain(SUPERSTEPS).compile(saver)
        await graph.ainvoke({"log": []}, thread_id="warm")
        proxy.expect()

        results = await asyncio.gather(*(graph.ainvoke({"log": []}, thread_id=f"t {n}") for n in range(RUNS)))

        made = statements(proxy, schema)
    assert results == [{"log": [f"n{number}" for number in range(SUPERSTEPS)]}] * RUNS
    assert made["load"] == RUNS
    assert set(made) <= {"load", "apply", "apply_plain", "apply_one_value"}
    assert made.total() - made["load"] <= RUNS * (SUPERSTEPS + 1) / 10


async def test_a_conflict_is_reported_to_its_own_run_alone(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        writers = [await some_thread(saver, f"t {number}") for number in range(20)]
        zombie = writers[7].rival()
        await commit(saver, writers[7], Step({"count": b"newer"}))
        units = [writer.unit(Step({"count": b"next"})) for writer in writers]
        units[7] = zombie.unit(Step({"count": b"of a zombie"}))

        answers = await asyncio.gather(*(saver.commit(unit) for unit in units))

        assert answers == [Committed(4) if number != 7 else Conflict(4) for number in range(20)]
        assert state_of(await loaded(saver, "t 7")) == writers[7].state()


async def test_commits_of_one_thread_keep_their_order(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        writer = Writer.of("thread")
        calls = []
        for number in range(30):
            unit = writer.unit(Step({"count": b"%d" % number}, {"log": b"%d," % number}))
            writer.applied(unit)
            calls.append(saver.commit(unit))

        answers = await asyncio.gather(*calls)

        assert answers == [Committed(number) for number in range(1, 31)]
        assert state_of(await loaded(saver, "thread")) == writer.state()


async def test_a_single_commit_does_not_wait_for_others(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        writer = await some_thread(saver)
        loop = asyncio.get_running_loop()
        call_at, delays = loop.call_at, []

        def noted(when: float, *given: Any, **options: Any) -> Any:
            delays.append(when - loop.time())
            return call_at(when, *given, **options)

        monkeypatch.setattr(loop, "call_at", noted)
        await commit(saver, writer, Step({"count": b"4"}))

        # The only longer delay is the timeout for a server that never answers.
        assert [delay for delay in delays if delay < 30] == []


async def test_two_savers_that_write_the_same_threads_do_not_deadlock(postgres: str) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        PostgresSaver(postgres, schema=schema) as first,
        PostgresSaver(postgres, schema=schema) as second,
    ):
        names = [f"t {number}" for number in range(40)]
        mine = [await some_thread(first, name, length=1) for name in names]
        theirs = [writer.rival() for writer in mine]
        for name in names:
            await second.load(name)
        assert [key_of(name) for name in names] != sorted(key_of(name) for name in names)

        answers = await asyncio.gather(
            *(first.commit(writer.unit(Step({"count": b"mine"}))) for writer in mine),
            *(second.commit(writer.unit(Step({"count": b"theirs"}))) for writer in reversed(theirs)),
        )

    # The second half is in the reversed order.
    pairs = zip(answers[:40], reversed(answers[40:]), strict=True)
    assert [sorted(type(answer).__name__ for answer in pair) for pair in pairs] == [["Committed", "Conflict"]] * 40


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The numbers of threads and bytes of each statement that makes prepared writes."""
    noted: list[tuple[int, int]] = []
    make = Database.make

    async def note(database: Database, name: str, given: Any) -> Any:
        if name == "apply":
            noted.append((len(given[0]), sum(len(value) for value in given[-11])))
        return await make(database, name, given)

    monkeypatch.setattr(Database, "make", note)
    return noted


async def test_large_values_are_split_over_several_statements(postgres: str, sent: list[tuple[int, int]]) -> None:
    mebibyte = 1024 * 1024
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        units = [Writer.of(f"t {number}").unit(Step({"v": b"v" * mebibyte})) for number in range(50)]

        answers = await asyncio.gather(*(saver.commit(unit) for unit in units))

    assert answers == [Committed(1)] * 50
    assert 10 * mebibyte < max(size for _, size in sent) <= 16 * mebibyte


async def test_threads_with_many_writes_do_not_starve_other_threads(postgres: str, sent: list[tuple[int, int]]) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        greedy = [await some_thread(saver, f"t {number}", length=1) for number in range(256)]
        sent.clear()
        calls = [
            asyncio.ensure_future(saver.save_writes(writer.batch(writer.record(number=number))))
            for writer in greedy
            for number in range(5)
        ]

        await commit(saver, Writer.of("another"), Step({"count": b"1"}))
        await asyncio.gather(*calls)

    assert len(sent) > 5
    # Only the commit of the other thread has a value.
    assert [size for _, size in sent][:2] == [0, 1]


async def test_an_unexpected_error_reaches_its_own_caller_and_blocks_no_other_commit(
    postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        writers = [await some_thread(saver, f"t {number}", length=1) for number in range(300)]
        make, failures = Database.make, [RuntimeError("the handler is closed"), None]

        async def failing(database: Database, name: str, given: Any) -> Any:
            if name == "apply" and (failure := failures.pop(0) if failures else None):
                raise failure
            return await make(database, name, given)

        monkeypatch.setattr(Database, "make", failing)
        units = [writer.unit(Step({"count": b"next"})) for writer in writers]
        msgspec.structs.force_setattr(units[7], "checkpoints", ())

        async with asyncio.timeout(30):
            answers = await asyncio.gather(*(saver.commit(unit) for unit in units), return_exceptions=True)

    assert failures == []
    wrong = {number: answer for number, answer in enumerate(answers) if answer != Committed(2)}
    assert {number: type(answer) for number, answer in wrong.items()} == {7: IndexError}


async def test_answers_on_a_thread_of_another_process_do_not_disturb_concurrent_commits(postgres: str) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        proxied(postgres) as proxy,
        PostgresSaver(postgres, schema=schema) as before,
        PostgresSaver(proxy.url, schema=schema) as after,
    ):
        asked = await some_thread(before, "asked")
        asking = [asked.record(ns=ns, rank=Rank.INTERRUPTED) for ns in ("", "called")]
        await save(before, asked, asked.batch(*asking))
        others = [await some_thread(after, f"t {number}", length=1) for number in range(20)]
        await after.load("asked")
        proxy.expect()

        for ns in ("", "called"):
            # A nested graph commits meanwhile: the interrupts still belong to the head.
            await commit(after, asked, Step({"count": b"1"}, ns="inside"))
            answer = asked.record(ns=ns, born=3, revision=2)
            commits = [commit(after, other, Step({"count": b"next"})) for other in others]
            stands, *_ = await asyncio.gather(save(after, asked, asked.batch(answer)), *commits)
            assert stands == (answer,)

        # Each answer has its own transaction.
        assert statements(proxy, schema)["COMMIT"] == 2


async def test_a_task_that_is_cancelled_before_it_starts_leaves_no_write_waiting(postgres: str) -> None:
    """An event loop that shuts down cancels all of its tasks, including those that have not started."""
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        writer = await some_thread(saver)
        await asyncio.sleep(0)
        before = asyncio.all_tasks()
        unit = writer.unit(Step({"count": b"next"}))
        answer = asyncio.ensure_future(saver.commit(unit))
        (sending,) = asyncio.all_tasks() - before - {answer}
        sending.cancel()
        async with asyncio.timeout(30):
            assert await answer == Committed(unit.version)
