"""The round trips of a run: one for each superstep, one for its input and one to load."""

import asyncio
import operator
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypedDict

import pytest

from durable_graph import START, Command, CompiledGraph, StateGraph, TaskFinished, interrupt
from durable_graph_postgres import PostgresSaver
from tests.postgres.proxy import Proxy, proxied
from tests.postgres.trips import named
from tests.savers import schema_of_its_own


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]


def chain(nodes: int) -> StateGraph[State]:
    """`nodes` nodes in sequence."""
    builder = StateGraph(State)
    before = START
    for number in range(nodes):
        builder.add_node(f"n{number}", writing(f"n{number}")).add_edge(before, f"n{number}")
        before = f"n{number}"
    return builder


def parallel(nodes: int) -> StateGraph[State]:
    """`nodes` nodes in one superstep."""
    builder = StateGraph(State)
    for number in range(nodes):
        builder.add_node(f"n{number}", writing(f"n{number}")).add_edge(START, f"n{number}")
    return builder


def writing(text: str) -> Any:
    async def run(state: State) -> State:
        return {"log": [text]}

    return run


class Warm:
    """A saver behind a proxy whose connections have made every statement before."""

    def __init__(self, proxy: Proxy, saver: PostgresSaver, schema: str) -> None:
        self.saver = saver
        self._proxy = proxy
        self._schema = schema

    async def trips_of(self, call: Awaitable[object]) -> list[str]:
        """The statements that the call made."""
        self._proxy.expect()
        await call
        return named(self._proxy.trips, self._schema)


@asynccontextmanager
async def warm(dsn: str, *, prepared_statements: bool = True, pool_size: int = 2) -> AsyncIterator[Warm]:
    """An open saver that was used until each connection of its pool had made the statements of a run."""
    async with schema_of_its_own(dsn) as schema, proxied(dsn) as proxy:
        saver = PostgresSaver(proxy.url, schema=schema, pool_size=pool_size, prepared_statements=prepared_statements)
        async with saver:
            for number in range(3):
                await parallel(3).compile(saver).ainvoke({"log": []}, thread_id=f"warm {number}")
                await chain(2).compile(saver).ainvoke({"log": []}, thread_id=f"warm {number}")
            yield Warm(proxy, saver, schema)


@pytest.mark.parametrize("nodes", [1, 5, 20])
async def test_a_chain_takes_one_round_trip_for_each_node_its_input_and_its_load(postgres: str, nodes: int) -> None:
    async with warm(postgres) as used:
        graph = chain(nodes).compile(used.saver)

        trips = await used.trips_of(graph.ainvoke({"log": ["in"]}, thread_id="t", durability="sync"))

    assert trips == ["load", "apply", *["apply_one_value"] * nodes]


async def test_the_next_input_of_a_thread_takes_as_many_round_trips(postgres: str) -> None:
    async with warm(postgres) as used:
        graph = chain(5).compile(used.saver)
        await graph.ainvoke({"log": ["in"]}, thread_id="t")

        trips = await used.trips_of(graph.ainvoke({"log": ["again"]}, thread_id="t"))

    assert trips == ["load", *["apply_one_value"] * 6]


async def test_a_run_with_exit_durability_takes_three_round_trips(postgres: str) -> None:
    async with warm(postgres) as used:
        graph = chain(20).compile(used.saver)

        trips = await used.trips_of(graph.ainvoke({"log": ["in"]}, thread_id="t", durability="exit"))

    assert trips == ["load", "apply", "apply_one_value"]


async def test_async_durability_takes_no_more_round_trips_than_sync(postgres: str) -> None:
    async with warm(postgres) as used:
        graph = chain(20).compile(used.saver)

        trips = await used.trips_of(graph.ainvoke({"log": ["in"]}, thread_id="t", durability="async"))

    assert trips[:2] == ["load", "apply"]
    assert len(trips) <= 22


@pytest.mark.parametrize("nodes", [2, 10])
async def test_parallel_nodes_that_finish_together_take_one_round_trip(postgres: str, nodes: int) -> None:
    async with warm(postgres) as used:
        graph = parallel(nodes).compile(used.saver)

        trips = await used.trips_of(graph.ainvoke({"log": ["in"]}, thread_id="t"))

    assert trips == ["load", "apply", "apply"]


@pytest.mark.parametrize("nodes", [2, 10])
async def test_parallel_nodes_that_finish_one_by_one_take_one_round_trip_each(postgres: str, nodes: int) -> None:
    may_finish = [asyncio.Event() for _ in range(nodes)]

    def waiting(number: int) -> Any:
        async def run(state: State) -> State:
            await may_finish[number].wait()
            return {"log": [str(number)]}

        return run

    builder = StateGraph(State)
    for number in range(nodes):
        builder.add_node(str(number), waiting(number)).add_edge(START, str(number))

    async def run(graph: CompiledGraph[State]) -> None:
        async with graph.stream({"log": ["in"]}, thread_id="t") as events:
            may_finish[0].set()
            async for event in events:
                match event:
                    case TaskFinished(provisional=False, node=name) if int(name) + 1 < nodes:
                        may_finish[int(name) + 1].set()

    async with warm(postgres) as used:
        trips = await used.trips_of(run(builder.compile(used.saver)))

    # The record of the last node is part of the superstep's commit.
    assert trips == ["load", "apply", *["apply"] * (nodes - 1), "apply"]


async def test_a_state_is_read_in_one_round_trip(postgres: str) -> None:
    async with warm(postgres) as used:
        graph = chain(5).compile(used.saver)
        await graph.ainvoke({"log": ["in"]}, thread_id="t")

        assert await used.trips_of(graph.aget_state(thread_id="t")) == ["load"]


async def test_the_round_trips_of_a_fork_do_not_depend_on_the_number_of_checkpoints(postgres: str) -> None:
    async with warm(postgres) as used:
        costs = []
        for nodes in (3, 60):
            graph = chain(nodes).compile(used.saver)
            thread = f"of {nodes}"
            await graph.ainvoke({"log": ["in"]}, thread_id=thread)
            *_, third, _, _ = [each async for each in graph.aget_state_history(thread_id=thread)]
            await graph.aupdate_state(third.config, {"log": ["once"]})
            costs.append(await used.trips_of(graph.aupdate_state(third.config, {"log": ["forked"]})))

    assert costs[0] == costs[1]
    assert len(costs[0]) == 11


async def test_an_interrupt_takes_one_round_trip_and_its_answer_is_checked_under_a_lock(postgres: str) -> None:
    async def ask(state: State) -> State:
        return {"log": [interrupt("go on?")]}

    builder = StateGraph(State).add_node("ask", ask).add_edge(START, "ask")
    async with warm(postgres) as used:
        graph = builder.compile(used.saver)
        await graph.ainvoke({"log": ["in"]}, thread_id="before")
        await graph.ainvoke(Command(resume="yes"), thread_id="before")

        asked = await used.trips_of(graph.ainvoke({"log": ["in"]}, thread_id="t"))
        answered = await used.trips_of(graph.ainvoke(Command(resume="yes"), thread_id="t"))

    assert asked == ["load", "apply", "apply"]
    replacing = ["BEGIN", "lock_thread", "find_born", "find_record", "put_record", "change_thread", "COMMIT"]
    assert answered == ["load", *replacing, "apply_one_value"]


async def test_each_statement_is_described_first_without_prepared_statements(postgres: str) -> None:
    async with warm(postgres, prepared_statements=False) as used:
        graph = chain(5).compile(used.saver)

        trips = await used.trips_of(graph.ainvoke({"log": ["in"]}, thread_id="t"))

    each = [[f"prepare {name}", name] for name in ["load", "apply", *["apply_one_value"] * 5]]
    assert trips == [trip for pair in each for trip in pair]


async def test_a_pool_of_one_connection_takes_no_more_round_trips(postgres: str) -> None:
    async with warm(postgres, pool_size=1) as used:
        graph = chain(5).compile(used.saver)

        trips = await used.trips_of(graph.ainvoke({"log": ["in"]}, thread_id="t"))

    assert trips == ["load", "apply", *["apply_one_value"] * 5]
