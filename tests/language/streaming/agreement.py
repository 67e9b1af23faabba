"""Small graphs of all kinds of nodes, the streamed parts of their runs, and a check that the store agrees with them."""

import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

from hypothesis import strategies as st

from durable_graph import (
    END,
    START,
    AnyValue,
    Checkpointer,
    Command,
    CompiledGraph,
    Overwrite,
    Send,
    StateGraph,
    interrupt,
    task,
)

MODES: list[Any] = ["values", "updates", "tasks", "checkpoints", "debug"]
INTERRUPT = "__interrupt__"


def joined(left: str, right: str) -> str:
    return f"{left}+{right}"


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    text: Annotated[str, joined]
    tags: Annotated[dict[str, int], operator.or_]
    last: Annotated[str, AnyValue]


Kind = Literal[
    "writes", "nothing", "several", "overwrites", "asks", "fails", "fails in routing", "sends", "goes", "graph", "calls"
]
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]  # typing's own
Stop = Literal["", "breakpoint", "asks", "fails"]


@dataclass(frozen=True)
class Plan:
    """A graph: layers of parallel nodes, which run in sequence. `stop` says how its nested graphs stop."""

    layers: Sequence[Sequence[Kind]]
    stop: Stop
    breakpoints: Sequence[str]


@dataclass
class Failures:
    """Makes the first attempt of each failing node fail."""

    met: Counter[str] = field(default_factory=Counter)

    def once(self, name: str) -> None:
        self.met[name] += 1
        if self.met[name] == 1:
            raise RuntimeError(f"{name} fails")


plans = st.builds(
    Plan,
    st.lists(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3), min_size=1, max_size=3),
    st.sampled_from(["", "breakpoint", "asks", "fails"]),
    st.lists(st.sampled_from(["n0_0", "n1_0", "n1_1"]), max_size=1),
)


@task
async def _called(value: str) -> str:
    return f"called {value}"


def compiled(plan: Plan, saver: Checkpointer) -> CompiledGraph[Any]:
    """The graph of a plan."""
    failures = Failures()
    inner = _inner(plan.stop, failures)
    builder: Any = StateGraph(State).add_node("worker", _worker).add_node("target", _noting("target"))
    names = [[f"n{layer}_{place}" for place in range(len(kinds))] for layer, kinds in enumerate(plan.layers)]
    for layer, kinds in enumerate(plan.layers):
        before: Any = START if layer == 0 else names[layer - 1]
        for name, kind in zip(names[layer], kinds, strict=True):
            # The check of the graph assumes that any node may route to these two.
            action = inner if kind == "graph" else _node(name, kind, inner, failures)
            builder.add_node(name, action, destinations=("worker", "target"))
            builder.add_edge(before, name)
            if kind == "sends":
                builder.add_conditional_edges(name, _sending(name), ["worker", END])
            elif kind == "fails in routing":
                builder.add_conditional_edges(name, _failing(name, failures), ["worker", END])
    known = {name for row in names for name in row}
    graph: CompiledGraph[Any] = builder.compile(
        saver, interrupt_before=[name for name in plan.breakpoints if name in known]
    )
    return graph


def _inner(stop: Stop, failures: Failures) -> CompiledGraph[Any]:
    async def second(state: State) -> State:
        if stop == "asks":
            return {"log": [interrupt("inner?")]}
        if stop == "fails":
            failures.once("inner")
        return {"log": ["i2"]}

    builder: Any = StateGraph(State).add_node("i1", _noting("i1")).add_node("i2", second)
    builder.add_edge(START, "i1").add_edge("i1", "i2")
    inner: CompiledGraph[Any] = builder.compile(interrupt_before=["i2"] if stop == "breakpoint" else None)
    return inner


def _noting(name: str) -> Any:
    async def node(state: State) -> State:
        return {"log": [name]}

    return node


async def _worker(given: Any) -> State:
    return {"log": [f"worker {given['item']}"], "text": "w", "tags": {f"item {given['item']}": 1}}


def _sending(name: str) -> Any:
    def route(state: State) -> Any:
        return [Send("worker", {"item": f"{name} {item}"}) for item in range(2)]

    return route


def _failing(name: str, failures: Failures) -> Any:
    def route(state: State) -> Any:
        failures.once(name)
        return END

    return route


def _node(name: str, kind: Kind, inner: CompiledGraph[Any], failures: Failures) -> Any:
    async def node(state: State) -> Any:
        match kind:
            case "nothing":
                return None
            case "several":
                twice = [("text", name), ("text", "again"), ("last", name), ("last", "again")]
                return Command(update=[*twice, ("log", [name]), ("log", ["x", "y"])])
            case "overwrites":
                return {"log": Overwrite([name])} if name.endswith("0") else {"tags": {name: 1}}
            case "asks":
                return {"log": [interrupt(f"{name}?")]}
            case "fails":
                failures.once(name)
            case "goes":
                return Command(update={"log": [name]}, goto="target")
            case "calls":
                found = await inner.ainvoke({"log": [await _called(name)]})
                return {"log": found["log"], "tags": {name: 2}}
        return {"log": [name], "text": name, "last": name}

    return node


# Streamed parts


@dataclass
class Seen:
    """The parts of all modes of one run, with their namespaces, and the error that the run raised."""

    parts: list[tuple[tuple[str, ...], str, Any]] = field(default_factory=list)
    error: Exception | None = None

    def of(self, mode: str, ns: tuple[str, ...] | None = None) -> list[Any]:
        return [part for own, its, part in self.parts if its == mode and ns in (None, own)]

    def with_ns(self, mode: str) -> list[tuple[tuple[str, ...], Any]]:
        return [(own, part) for own, its, part in self.parts if its == mode]


async def seen_of(graph: CompiledGraph[Any], given: Any, durability: Any, at: Any = None) -> Seen:
    """Run the graph, from the checkpoint of the config `at` if it is given, and collect the parts of all modes."""
    seen = Seen()
    try:
        async for part in graph.astream(
            given, at, thread_id="t", stream_mode=MODES, subgraphs=True, durability=durability
        ):
            seen.parts.append(part)
    except Exception as error:
        seen.error = error
    return seen


# Agreement with the store


async def check_agreement(
    graph: CompiledGraph[Any], seen: Seen, durability: str, known: Mapping[str, set[str]]
) -> None:
    """Check the parts of a run. `known` has the checkpoints that the store had before the run, by namespace."""
    state = await graph.aget_state(thread_id="t")
    history = [each async for each in graph.aget_state_history(thread_id="t")]
    _check_values(seen, state, history[0])
    _check_debug(seen)
    await _check_checkpoints(graph, seen, durability, known)
    await _check_tasks(graph, seen, durability)


def _check_values(seen: Seen, state: Any, newest: Any) -> None:
    values = [_without_interrupts(each) for each in seen.of("values", ())]
    if seen.error is not None:
        # The results of finished siblings are recorded, and in the state; they are not in a checkpoint yet.
        assert not values or values[-1] == newest.values, (values, newest)
        return
    if values:
        assert values[-1] == state.values
    last = seen.of("values", ())[-1] if values else {}
    asked = last.get(INTERRUPT, ()) if isinstance(last, dict) else ()
    assert {each.id for each in asked} == {each.id for each in state.interrupts}


def _without_interrupts(values: Any) -> Any:
    return {key: value for key, value in values.items() if key != INTERRUPT}


def _check_debug(seen: Seen) -> None:
    """The mode "debug" has the parts of "tasks" and "checkpoints", in their order."""
    payloads = [(ns, part["payload"]) for ns, part in seen.with_ns("debug")]
    others = [(ns, part) for ns, mode, part in seen.parts if mode in ("tasks", "checkpoints")]
    assert payloads == others


async def stored(graph: CompiledGraph[Any], ns: str) -> dict[str, Any]:
    """The checkpoints of a namespace, by id."""
    config = {"configurable": {"thread_id": "t", "checkpoint_ns": ns}}
    return {each.config["configurable"]["checkpoint_id"]: each async for each in graph.aget_state_history(config)}


async def _check_checkpoints(
    graph: CompiledGraph[Any], seen: Seen, durability: str, known: Mapping[str, set[str]]
) -> None:
    by_ns: dict[str, dict[str, Any]] = {}
    for place, part in seen.with_ns("checkpoints"):
        by_ns.setdefault("|".join(place), {})[part["config"]["configurable"]["checkpoint_id"]] = part
    for ns in {"", *by_ns}:
        streamed, found = by_ns.get(ns, {}), await stored(graph, ns)
        new = found.keys() - known.get(ns, set())
        # Each new checkpoint in the store was streamed; in exit mode more checkpoints are streamed than stored.
        assert new <= streamed.keys(), (ns, new, streamed.keys())
        if durability != "exit":
            assert streamed.keys() == new, (ns, new, streamed.keys())
        for id_ in new:
            _check_checkpoint(streamed[id_], found[id_])
        for part in streamed.values():
            parent = part["parent_config"]
            assert parent is None or parent["configurable"]["checkpoint_id"] in found, (ns, parent)


def _check_checkpoint(part: Mapping[str, Any], snapshot: Any) -> None:
    assert part["config"] == snapshot.config
    assert part["parent_config"] == snapshot.parent_config
    assert part["values"] == snapshot.values
    assert part["metadata"] == snapshot.metadata
    assert tuple(part["next"]) == snapshot.next
    seen = [(each["id"], each["name"], each["state"]) for each in part["tasks"]]
    assert seen == [(each.id, each.name, each.state) for each in snapshot.tasks]


async def _check_tasks(graph: CompiledGraph[Any], seen: Seen, durability: str) -> None:
    finished: dict[tuple[str, str], dict[str, Any]] = {}
    for place, part in seen.with_ns("tasks"):
        if "result" in part:
            finished["|".join(place), part["id"]] = part
    heads = {}
    snapshots: dict[tuple[str, str], Any] = {}
    for ns in {ns for ns, _ in finished}:
        config = {"configurable": {"thread_id": "t", "checkpoint_ns": ns}}
        heads[ns] = {each.id: each for each in (await graph.aget_state(config)).tasks}
        for snapshot in (await stored(graph, ns)).values():
            snapshots.update({(ns, each.id): each for each in snapshot.tasks})
    for (ns, id_), part in finished.items():
        if part["name"] == "_called":
            continue
        head, past = heads[ns].get(id_), snapshots.get((ns, id_))
        if part["error"] is not None and head is not None:
            assert head.error == part["error"]
        elif part["interrupts"] and head is not None:
            assert [each.id for each in head.interrupts] == [each["id"] for each in part["interrupts"]]
        elif part["error"] is None and not part["interrupts"]:
            assert durability == "exit" or past is not None, (ns, part)
            found = past.result if past is not None else None
            assert found == part["result"] or (durability == "exit" and found is None), (part, past)
