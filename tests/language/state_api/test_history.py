"""`aget_state_history`: newest first, filtered, in pages, and readable while the thread is in use."""

import asyncio
from typing import Any

import pytest

from durable_graph import Checkpointer, Durability, InvalidOptionError, MissingCheckpointerError
from tests.graphs import THREAD, Nodes, checkpoint_id_of, history

pytestmark = pytest.mark.every_store


def tagged(**metadata: Any) -> Any:
    return {**THREAD, "metadata": metadata}


async def test_a_filter_selects_the_checkpoints_that_have_all_of_its_metadata(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": ["1"]}, tagged(user="ann", turn=1))
    await graph.ainvoke({"log": ["2"]}, tagged(user="ben", turn=2))
    await graph.ainvoke({"log": ["3"]}, tagged(user="ann", turn=3))
    whole = await history(graph)

    assert await history(graph, filter={"user": "ann"}) == [*whole[:2], *whole[4:]]
    assert await history(graph, filter={"user": "ann", "turn": 1}) == whole[4:]
    assert await history(graph, filter={"user": "cid"}) == []
    assert await history(graph, filter={}) == whole


async def test_a_filter_may_name_the_source_and_the_step(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    whole = await history(graph)

    assert await history(graph, filter={"source": "input"}) == whole[2:]
    assert await history(graph, filter={"source": "loop", "step": 1}) == whole[1:2]


async def test_a_limit_counts_the_checkpoints_that_match_the_filter(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    for turn in range(6):
        await graph.ainvoke({"log": [f"{turn}"]}, tagged(is_even=turn % 2 == 0))
    even = await history(graph, filter={"is_even": True})

    assert len(even) == 6
    assert await history(graph, filter={"is_even": True}, limit=3) == even[:3]
    assert await history(graph, filter={"is_even": True}, limit=2, before=even[1].config) == even[2:4]


async def test_before_excludes_its_own_checkpoint(saver: Checkpointer) -> None:
    graph = Nodes().chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    whole = await history(graph)

    assert await history(graph, before=whole[0].config) == whole[1:]
    assert await history(graph, before=checkpoint_id_of(whole[2]), limit=1) == whole[3:4]
    assert await history(graph, before=whole[-1].config) == []


@pytest.mark.parametrize("limit", [-1, "2", 1.5, True])
async def test_an_invalid_limit_is_refused(saver: Checkpointer, limit: Any) -> None:
    graph = Nodes().chain("a").compile(saver)

    with pytest.raises(InvalidOptionError, match=f"limit={limit!r}"):
        await history(graph, limit=limit)


async def test_a_filter_that_is_not_a_dict_is_refused(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)

    with pytest.raises(InvalidOptionError, match=r"filter='loop'.*metadata"):
        await history(graph, filter="loop")


async def test_history_needs_a_checkpointer() -> None:
    graph = Nodes().chain("a").compile()

    with pytest.raises(MissingCheckpointerError, match="aget_state_history"):
        await history(graph)


async def test_a_checkpoint_can_be_read_while_its_history_is_read(saver: Checkpointer) -> None:
    """Reference P26."""
    graph = Nodes().chain("a", "b", "c").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    whole = await history(graph)

    async with asyncio.timeout(20):
        read = [
            (each, await graph.aget_state(each.config), (await graph.aget_state(THREAD)).config)
            async for each in graph.aget_state_history(THREAD)
        ]

    assert read == [(each, each, whole[0].config) for each in whole[:1]] + [
        (each, each, whole[0].config) for each in whole[1:]
    ]


async def test_a_thread_can_be_run_and_edited_while_its_history_is_read(saver: Checkpointer) -> None:
    """Reference P26."""
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    whole = await history(graph)

    shown = []
    async with asyncio.timeout(20):
        async for each in graph.aget_state_history(THREAD):
            shown.append(each)
            await graph.ainvoke({"log": ["more"]}, THREAD)
            await graph.aupdate_state(THREAD, {"log": ["edited"]})

    assert shown == whole
    assert len(await history(graph)) == len(whole) * 4


async def test_an_abandoned_iteration_over_a_history_releases_the_store(saver: Checkpointer) -> None:
    """Reference P26."""
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)

    async for _ in graph.aget_state_history(THREAD):
        break

    async with asyncio.timeout(20):
        assert await graph.ainvoke({"log": []}, THREAD) == {"log": ["a", "a"]}


async def test_histories_can_be_read_concurrently(saver: Checkpointer) -> None:
    """Reference P26."""
    graph = Nodes().chain("a", "b").compile(saver)
    await graph.ainvoke({"log": []}, THREAD)
    whole = await history(graph)

    async with asyncio.timeout(20):
        read = await asyncio.gather(*(history(graph) for _ in range(20)))

    assert read == [whole] * 20


async def test_the_history_has_every_superstep_and_in_exit_mode_only_the_first_and_last_checkpoint(
    saver: Checkpointer, durability: Durability
) -> None:
    graph = Nodes().chain("a", "b", "c").compile(saver)

    await graph.ainvoke({"log": []}, THREAD, durability=durability)

    assert len(await history(graph)) == (2 if durability == "exit" else 4)


async def test_a_history_has_the_checkpoints_of_its_own_thread_only(saver: Checkpointer) -> None:
    graph = Nodes().chain("a").compile(saver)
    await graph.ainvoke({"log": ["mine"]}, THREAD)
    await graph.ainvoke({"log": ["theirs"]}, thread_id="other")

    assert {each.values["log"][0] for each in await history(graph)} == {"mine"}
