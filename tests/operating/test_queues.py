"""The command that lists queues, with their limits and whether a worker serves them."""

import asyncio
import json
from typing import TypedDict

from durable_graph import START, StateGraph
from durable_graph.runs import App, Rate
from tests.operating.conftest import STORE, Operate, Shop


class State(TypedDict, total=False):
    text: str


async def node(state: State) -> State:
    return {}


def app() -> App:
    made = App({"chat": StateGraph(State).add_node("node", node).add_edge(START, "node").compile()}, STORE)
    made.queue("llm", concurrency=20, rate=Rate(300, per=60))
    return made


async def start(declared: App) -> None:
    async with declared:
        async with declared.worker():
            pass
        for queue in ("llm", "mail", "mail"):
            await declared.start("chat", {}, queue=queue, limit_key="a")


def test_queues_are_listed_with_limits_and_workers(shop: Shop, operate: Operate) -> None:
    asyncio.run(start(app()))
    head, *lines = operate("queues", "--store", STORE).lines
    assert [line.split()[:3] for line in lines] == [["llm", "1", "0"], ["mail", "2", "0"]]
    assert lines[0].endswith("300 in 60s  not served")
    assert lines[1].endswith("not served")
    assert lines[0][head.index("CONCURRENCY") :].split()[0] == "20"


async def listed_while_a_worker_lives(declared: App, operate: Operate) -> list[str]:
    async with declared, declared.worker():
        return await asyncio.to_thread(lambda: operate("queues", "--store", STORE).lines)


def test_a_served_queue_has_the_number_of_its_workers(shop: Shop, operate: Operate) -> None:
    _, line = asyncio.run(listed_while_a_worker_lives(app(), operate))
    assert line.split()[-1] == "1"


def test_queues_are_printed_as_json(shop: Shop, operate: Operate) -> None:
    asyncio.run(start(app()))
    llm, mail = json.loads(operate("queues", "--store", STORE, "--json").out)
    assert llm["limits"] == {
        "queue": "llm",
        "concurrency": 20,
        "per_key": None,
        "rate": {"number": 300, "per": 60.0},
    }
    assert (llm["ready"], llm["workers"]) == (1, 0)
    assert (mail["limits"], mail["ready"]) == (None, 2)


def test_no_queue_prints_nothing(shop: Shop, operate: Operate) -> None:
    assert operate("queues", "--store", STORE).out == ""
