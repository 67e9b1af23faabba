"""No update is lost: of several concurrent writers one succeeds, and the others get an error."""

import asyncio

import pytest

from durable_graph import CheckpointConflictError, Checkpointer, Durability, StateUpdate, ThreadBusyError
from tests.graphs import THREAD, Nodes, State, checkpoint_id_of, history
from tests.runtime.processes import as_another_process

pytestmark = pytest.mark.every_store


async def test_an_update_that_expects_the_newest_checkpoint_is_written(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    head = checkpoint_id_of(await graph.aget_state(THREAD))

    await graph.aupdate_state(THREAD, {"log": ["x"]}, expected_checkpoint_id=head)

    assert (await graph.aget_state(THREAD)).values == {"log": ["a", "x"]}


async def test_an_update_that_expects_an_older_checkpoint_changes_nothing(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    seen = checkpoint_id_of(await graph.aget_state(THREAD))
    await graph.aupdate_state(THREAD, {"log": ["first"]}, expected_checkpoint_id=seen)
    before = await history(graph)

    with pytest.raises(CheckpointConflictError) as raised:
        await graph.aupdate_state(THREAD, {"log": ["second"]}, expected_checkpoint_id=seen)

    assert await history(graph) == before
    assert raised.value.thread_id == "t"
    assert raised.value.checkpoint_id == checkpoint_id_of(before[0])


async def test_an_update_that_expects_the_checkpoint_before_the_newest_run_is_refused(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    seen = checkpoint_id_of(await graph.aget_state(THREAD))
    await graph.ainvoke({"log": []}, THREAD)

    with pytest.raises(CheckpointConflictError):
        await graph.aupdate_state(THREAD, {"log": ["x"]}, expected_checkpoint_id=seen)


async def test_one_of_many_updates_that_expect_the_same_checkpoint_is_written(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    seen = checkpoint_id_of(await graph.aget_state(THREAD))

    results = await asyncio.gather(
        *(graph.aupdate_state(THREAD, {"log": [f"{n}"]}, expected_checkpoint_id=seen) for n in range(8)),
        return_exceptions=True,
    )

    failed = [each for each in results if isinstance(each, BaseException)]
    assert len(failed) == 7
    assert all(isinstance(each, CheckpointConflictError | ThreadBusyError) for each in failed)
    assert len((await graph.aget_state(THREAD)).values["log"]) == 2


async def test_no_concurrent_update_is_lost_without_an_expected_checkpoint(saver: Checkpointer) -> None:
    """Reference P1."""
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    results = await asyncio.gather(
        *(graph.aupdate_state(THREAD, {"log": [f"{n}"]}) for n in range(8)), return_exceptions=True
    )

    made = [f"{n}" for n, each in enumerate(results) if not isinstance(each, BaseException)]
    refused = [each for each in results if isinstance(each, BaseException)]
    assert made
    assert all(isinstance(each, CheckpointConflictError | ThreadBusyError) for each in refused)
    assert sorted((await graph.aget_state(THREAD)).values["log"][1:]) == made


async def test_no_concurrent_run_of_one_thread_is_lost_silently(saver: Checkpointer, durability: Durability) -> None:
    """Reference P1."""
    graph = Nodes().chain("a", "b").compile(saver)

    results = await asyncio.gather(
        *(graph.ainvoke({"log": [f"{n}"]}, THREAD, durability=durability) for n in range(3)), return_exceptions=True
    )

    made = [f"{n}" for n, each in enumerate(results) if not isinstance(each, BaseException)]
    refused = [each for each in results if isinstance(each, BaseException)]
    assert made
    assert all(isinstance(each, CheckpointConflictError | ThreadBusyError) for each in refused)
    marks = (await graph.aget_state(THREAD)).values["log"]
    assert [mark for mark in marks if mark.isdigit()] == made


async def test_concurrent_runs_of_one_thread_take_turns_with_if_busy_wait(saver: Checkpointer) -> None:
    """Reference P1."""
    graph = Nodes().chain("a").compile(saver)

    await asyncio.gather(*(graph.ainvoke({"log": [f"{n}"]}, THREAD, if_busy="wait") for n in range(3)))

    marks = (await graph.aget_state(THREAD)).values["log"]
    assert sorted(mark for mark in marks if mark.isdigit()) == ["0", "1", "2"]
    assert marks.count("a") == 3


async def test_an_update_during_a_run_of_another_process_stops_that_run(saver: Checkpointer) -> None:
    """Reference P1."""
    calls = Nodes()

    async def edited(state: State) -> State:
        with as_another_process(saver):
            await graph.aupdate_state(THREAD, {"log": ["edited"]}, as_node="edited")
        return {"log": ["ran"]}

    graph = calls.chain("a", ("edited", edited), "b").compile(saver)

    with pytest.raises(CheckpointConflictError):
        await graph.ainvoke({"log": []}, THREAD)

    state = await graph.aget_state(THREAD)
    assert (state.values, state.next) == ({"log": ["a", "edited"]}, ("b",))
    assert calls.taken() == ["a"]


async def test_an_update_while_this_process_runs_the_thread_is_refused(saver: Checkpointer) -> None:
    """Reference P1."""
    refused: list[BaseException] = []

    async def edits(state: State) -> State:
        try:
            await graph.aupdate_state(THREAD, {"log": ["edited"]})
        except ThreadBusyError as error:
            refused.append(error)
        return {"log": ["ran"]}

    graph = Nodes().chain(("edits", edits)).compile(saver)

    assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["ran"]}
    assert len(refused) == 1


async def test_a_concurrent_bulk_update_is_written_completely_or_not_at_all(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    supersteps = [[StateUpdate({"log": ["x"]}, "a")], [StateUpdate({"log": ["y"]}, "b")]]

    results = await asyncio.gather(
        *(graph.abulk_update_state(THREAD, supersteps) for _ in range(4)), return_exceptions=True
    )

    made = sum(not isinstance(each, BaseException) for each in results)
    assert made >= 1
    assert (await graph.aget_state(THREAD)).values == {"log": ["x", "y"] * made}
