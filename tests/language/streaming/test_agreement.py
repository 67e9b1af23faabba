"""For any small graph, every stream mode agrees with the store, in each durability."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from durable_graph import Command, MemorySaver, NothingToResumeError
from tests.language.streaming.agreement import Plan, check_agreement, compiled, plans, seen_of, stored

pytestmark = pytest.mark.slow

DURABILITIES = st.sampled_from(["sync", "async", "exit"])
STEPS = st.lists(st.sampled_from(["go on", "edit", "new input", "fork"]), max_size=4)


@settings(max_examples=150)
@given(plans, DURABILITIES, STEPS)
def test_every_stream_mode_agrees_with_the_store(plan: Plan, durability: Any, steps: list[str]) -> None:
    asyncio.run(_agree(plan, durability, steps))


async def _agree(plan: Plan, durability: Any, steps: list[str]) -> None:
    graph = compiled(plan, MemorySaver())
    given: Any = {"log": ["in"], "tags": {"in": 0}}
    for step in ["start", *steps]:
        state, at = await graph.aget_state(thread_id="t"), None
        if step == "edit":
            await graph.aupdate_state(state.config, {"log": ["edited"]}, as_node="target")
            continue
        if step == "go on":
            given = Command(resume={each.id: "answer" for each in state.interrupts}) if state.interrupts else None
        elif step == "new input":
            given = {"log": ["more"]}
        elif step == "fork":
            history = [each async for each in graph.aget_state_history(thread_id="t")]
            given, at = None, history[len(history) // 2].config
        known = await _known(graph)
        seen = await seen_of(graph, given, durability, at)
        if isinstance(seen.error, NothingToResumeError):
            continue
        await check_agreement(graph, seen, durability, known)


async def _known(graph: Any) -> dict[str, set[str]]:
    """The stored checkpoints, by namespace: those of the root graph, and those of the nested graphs of its tasks."""
    known = {"": set(await stored(graph, ""))}
    async for snapshot in graph.aget_state_history(thread_id="t"):
        for task in snapshot.tasks:
            if task.state is not None:
                ns = task.state["configurable"]["checkpoint_ns"]
                known[ns] = set(await stored(graph, ns))
    return known
