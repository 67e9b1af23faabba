"""Every public call that takes text, made with a given text."""

import asyncio
import dataclasses
import operator
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, TypedDict

from durable_graph import (
    START,
    Checkpointer,
    Command,
    InMemoryCache,
    RunControl,
    Runtime,
    Send,
    StateGraph,
    StateUpdate,
    delete_expired_threads,
    entrypoint,
    export_threads,
    import_threads,
    interrupt,
    open_checkpointer,
    push_message,
    task,
)
from durable_graph.records import ThreadInfo
from durable_graph_postgres import PostgresSaver
from durable_graph_sqlite import SqliteCache, SqliteSaver


class State(TypedDict, total=False):
    value: Any
    log: Annotated[list[str], operator.add]


@dataclasses.dataclass
class Kept:
    x: int = 1


class Given:
    """A graph, its saver, and the text that a call is given. Thread "t" has run, thread "asks" waits for an answer."""

    def __init__(self, saver: Checkpointer, text: str) -> None:
        self.saver = saver
        self.text = text
        self.graph: Any = self.of(lambda _: {"log": ["node"]})
        self.asking: Any = self.of(lambda _: {"value": interrupt("why?")})

    def of(self, node: Any, router: Any = None, **options: Any) -> Any:
        builder = StateGraph(State).add_node("node", node).add_edge(START, "node")
        if router is not None:
            builder.add_conditional_edges("node", router)
        return builder.compile(self.saver, cache=InMemoryCache(), **options)

    async def run(self, node: Any, router: Any = None, **options: Any) -> Any:
        return await self.of(node, router).ainvoke({}, thread_id="of a node", **options)


Call = Callable[[Given], Awaitable[Any]]
CALLS: list[Call] = []


def call(function: Call) -> Call:
    CALLS.append(function)
    return function


async def listed(generator: Any) -> list[Any]:
    return [each async for each in generator]


def options_of_a_run(text: str) -> list[dict[str, Any]]:
    return [
        {"thread_id": text},
        {"checkpoint_id": text},
        {"durability": text},
        {"if_busy": text},
        {"if_unfinished": text},
        {"if_finished": text},
        {"key": text},
        {"stream_mode": text},
        {"stream_mode": ["values", text]},
        {"version": text},
        {"output_keys": text},
        {"output_keys": [text]},
        {"interrupt_before": text},
        {"interrupt_after": [text]},
        {"context": text},
        {"recursion_limit": text},
        {text: 1},
    ]


def configs(text: str) -> list[dict[str, Any]]:
    return [
        {"metadata": {text: 1}},
        {"metadata": {"k": text}},
        {"run_name": text},
        {"run_id": text},
        {"tags": [text]},
        {"configurable": {text: 1}},
        {"configurable": {"own": text}},
        {"configurable": {"checkpoint_id": text}},
        {"configurable": {"checkpoint_ns": text}},
        {text: 1},
    ]


def inputs(text: str) -> list[Any]:
    return [
        text,
        {text: 1},
        {"value": text},
        {"value": {text: [text]}},
        {"log": [text]},
        Command(goto=text),
        Command(goto=Send(text, {})),
        Command(update={text: 1}),
        Command(update=[(text, 1)]),
        Command(resume=text),
        Command(resume={text: 1}),
        Command(graph=text),  # type: ignore[arg-type]  # a mistake
    ]


def runs(number: int) -> Call:
    async def an_option(given: Given) -> Any:
        options = {"thread_id": "t", **options_of_a_run(given.text)[number]}
        return await given.graph.ainvoke({}, **options)

    return an_option


def configured(number: int) -> Call:
    async def a_config(given: Given) -> Any:
        return await given.graph.ainvoke({}, configs(given.text)[number], thread_id="t")

    return a_config


def read(number: int) -> Call:
    async def a_config_to_read(given: Given) -> Any:
        return await given.graph.aget_state(configs(given.text)[number], thread_id="t")

    return a_config_to_read


def updated(number: int) -> Call:
    async def a_config_to_update(given: Given) -> Any:
        return await given.graph.aupdate_state(configs(given.text)[number], {"log": ["x"]}, "node", thread_id="t")

    return a_config_to_update


def begun(number: int) -> Call:
    async def an_input(given: Given) -> Any:
        return await given.graph.ainvoke(inputs(given.text)[number], thread_id="t")

    return an_input


def answered(number: int) -> Call:
    async def an_answer(given: Given) -> Any:
        return await given.asking.ainvoke(inputs(given.text)[number], thread_id="asks")

    return an_answer


CALLS += [runs(number) for number in range(len(options_of_a_run("x")))]
CALLS += [made(number) for made in (configured, read, updated) for number in range(len(configs("x")))]
CALLS += [made(number) for made in (begun, answered) for number in range(len(inputs("x")))]


@call
async def read_a_state(given: Given) -> Any:
    return await given.graph.aget_state(thread_id=given.text, checkpoint_id=given.text)


@call
async def read_a_history(given: Given) -> Any:
    await listed(given.graph.aget_state_history(thread_id="t", filter={given.text: given.text}))
    await listed(given.graph.aget_state_history(thread_id="t", before=given.text))


@call
async def update_as_a_node(given: Given) -> Any:
    return await given.graph.aupdate_state(None, {"log": ["x"]}, given.text, thread_id="t")


@call
async def update_a_task(given: Given) -> Any:
    return await given.graph.aupdate_state(None, {"log": ["x"]}, "node", given.text, thread_id="t")


@call
async def update_a_key(given: Given) -> Any:
    return await given.graph.aupdate_state(None, {given.text: 1}, "node", thread_id="t")


@call
async def update_with_an_expected_checkpoint(given: Given) -> Any:
    return await given.graph.aupdate_state(None, {}, "node", thread_id="t", expected_checkpoint_id=given.text)


@call
async def update_in_bulk(given: Given) -> Any:
    return await given.graph.abulk_update_state(None, [[StateUpdate({"value": given.text}, given.text)]], thread_id="t")


@call
async def copy_from(given: Given) -> Any:
    return await given.graph.acopy_thread(given.text, "copy")


@call
async def copy_to(given: Given) -> Any:
    return await given.graph.acopy_thread("t", given.text)


@call
async def delete(given: Given) -> Any:
    return await given.graph.adelete_thread(given.text)


@call
async def cancel(given: Given) -> Any:
    return await given.graph.acancel(given.text)


@call
async def reopen(given: Given) -> Any:
    return await given.graph.areopen(given.text)


@call
async def discard_calls_of_a_thread(given: Given) -> Any:
    return await given.graph.adiscard_calls(given.text, "task")


@call
async def discard_calls_of_a_task(given: Given) -> Any:
    return await given.graph.adiscard_calls("t", given.text)


@call
async def find_subgraphs(given: Given) -> Any:
    return await listed(given.graph.aget_subgraphs(namespace=given.text))


@call
async def clear_the_cache(given: Given) -> Any:
    return await given.graph.aclear_cache([given.text])


@call
async def draw(given: Given) -> Any:
    return given.graph.get_graph().draw_mermaid({given.text: "done"})


# Savers


@call
async def load(given: Given) -> Any:
    return await given.saver.load(given.text)


@call
async def load_a_namespace(given: Given) -> Any:
    return await given.saver.load("t", given.text)


@call
async def load_records(given: Given) -> Any:
    return await given.saver.load_records("t", given.text)


@call
async def page(given: Given) -> Any:
    return await given.saver.history(given.text, given.text, limit=1)


@call
async def list_a_status(given: Given) -> Any:
    return await given.saver.list_threads(status=given.text)  # type: ignore[arg-type]  # perhaps no status


@call
async def list_after(given: Given) -> Any:
    return await given.saver.list_threads(after=given.text)


@call
async def delete_a_thread(given: Given) -> Any:
    return await given.saver.delete_thread(given.text)


@call
async def copy_a_thread(given: Given) -> Any:
    return await given.saver.copy_thread("t", given.text)


@call
async def prune(given: Given) -> Any:
    return await given.saver.prune(given.text)


@call
async def sweep(given: Given) -> Any:
    return await delete_expired_threads(
        given.saver,
        older_than=timedelta(days=1),
        status=given.text,  # type: ignore[arg-type]  # perhaps no status
    )


@call
async def find_a_request(given: Given) -> Any:
    return await given.saver.find_request("t", given.text)


@call
async def list_after_a_damaged_thread(given: Given) -> Any:
    return await given.saver.list_threads(after=ThreadInfo(given.text, "damaged"), status="damaged")


@call
async def delete_a_damaged_thread(given: Given) -> Any:
    return await given.saver.delete_thread(given.text, seen=ThreadInfo(given.text, "damaged"))


@call
async def export_a_thread(given: Given) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return await export_threads(given.saver, f"{folder}/threads", thread_ids=[given.text])


@call
async def export_to_a_path(given: Given) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return await export_threads(given.saver, f"{folder}/threads/{given.text}")


@call
async def import_a_path(given: Given) -> Any:
    return await import_threads(given.saver, given.text)


@call
async def back_up(given: Given) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        async with SqliteSaver(f"{folder}/runs.db") as saver:
            return await saver.backup(f"{folder}/{given.text}/backup")


@call
async def open_a_url(given: Given) -> Any:
    return await asyncio.to_thread(open_checkpointer, given.text)


@call
async def open_a_url_of_sqlite(given: Given) -> Any:
    return await asyncio.to_thread(open_checkpointer, f"sqlite:///{given.text}")


@call
async def make_a_saver_of_a_path(given: Given) -> Any:
    return SqliteSaver(given.text)


@call
async def make_a_cache_of_a_path(given: Given) -> Any:
    return SqliteCache(given.text)


@call
async def make_a_saver_of_a_dsn(given: Given) -> Any:
    return PostgresSaver(given.text)


@call
async def make_a_saver_of_a_host(given: Given) -> Any:
    return PostgresSaver(f"postgresql://{given.text}/db")


@call
async def make_a_saver_of_a_schema(given: Given) -> Any:
    return PostgresSaver("postgresql://host/db", schema=given.text)


# Definitions of graphs, and results of nodes


@call
async def name_a_node(given: Given) -> Any:
    builder = StateGraph(State).add_node(given.text, lambda _: {"log": ["x"]}).add_edge(START, given.text)
    return await builder.compile(given.saver).ainvoke({}, thread_id="of a node")


@call
async def name_a_graph(given: Given) -> Any:
    return await given.of(lambda _: {}, name=given.text).ainvoke({}, thread_id="of a graph")


@call
async def name_a_nested_graph(given: Given) -> Any:
    inner = StateGraph(State).add_node("inner", lambda _: {}).add_edge(START, "inner").compile(name=given.text)
    return await given.run(inner)


@call
async def name_a_key(given: Given) -> Any:
    keys: Any = TypedDict("keys", {given.text: int}, total=False)  # type: ignore[misc]  # a generated key
    builder: Any = StateGraph(keys).add_node("node", lambda _: {given.text: 1}).add_edge(START, "node")
    return await builder.compile(given.saver).ainvoke({}, thread_id="of a key")


@call
async def name_a_tag(given: Given) -> Any:
    return await given.of(lambda _: {"value": Kept()}, types=[(given.text, Kept)]).ainvoke({}, thread_id="of a tag")


@call
async def name_a_breakpoint(given: Given) -> Any:
    return given.of(lambda _: {}, interrupt_before=[given.text])


@call
async def name_an_edge(given: Given) -> Any:
    return StateGraph(State).add_node("node", lambda _: {}).add_edge(START, given.text).compile()


@call
async def name_a_task(given: Given) -> Any:
    named = task(name=given.text)(_doubled)

    @entrypoint(checkpointer=given.saver)
    async def flow(value: str) -> str:
        return await named(value)

    return await flow.ainvoke(given.text, thread_id="of a task")


async def _doubled(value: str) -> str:
    return 2 * value


@call
async def name_an_entrypoint(given: Given) -> Any:
    return await entrypoint(given.saver, name=given.text)(_doubled).ainvoke(given.text, thread_id="of an entrypoint")


@call
async def return_a_key(given: Given) -> Any:
    return await given.run(lambda _: {given.text: 1})


@call
async def return_text(given: Given) -> Any:
    return await given.run(lambda _: given.text)


@call
async def return_values(given: Given) -> Any:
    return await given.run(lambda _: {"value": {given.text: (given.text, {given.text})}, "log": [given.text]})


@call
async def go_to(given: Given) -> Any:
    return await given.run(lambda _: Command(goto=given.text))


@call
async def route(given: Given) -> Any:
    return await given.run(lambda _: {}, lambda _: given.text)


@call
async def send(given: Given) -> Any:
    return await given.run(lambda _: {}, lambda _: Send(given.text, given.text))


@call
async def ask(given: Given) -> Any:
    await given.run(lambda _: {"value": interrupt({given.text: given.text})})
    return await given.graph.aget_state(thread_id="of a node")


@call
async def emit(given: Given) -> Any:
    def emitting(state: Any, runtime: Runtime[None]) -> None:
        runtime.stream_writer(given.text)
        push_message(given.text, metadata={"k": given.text})

    modes = ["custom", "messages", "debug"]
    return await listed(given.of(emitting).astream({}, thread_id="of a node", stream_mode=modes))


@call
async def drain(given: Given) -> Any:
    control = RunControl()
    control.request_drain(given.text)
    return await given.graph.ainvoke({}, thread_id="drained", control=control)


class FromNodeError(Exception):
    """The error that a node raises."""


@call
async def raise_an_error(given: Given) -> Any:
    def raising(state: Any) -> Any:
        raise FromNodeError(given.text)

    try:
        await given.run(raising)
    except FromNodeError:
        return await given.graph.aget_state(thread_id="of a node")
