"""A conversation of Commands, Sends, interrupts, answers, nested runs, tasks and error handlers."""

from typing import Any, Final, Literal

from durable_graph import (
    START,
    Checkpointer,
    Command,
    CompiledGraph,
    Durability,
    NodeError,
    RetryPolicy,
    Send,
    StateGraph,
    interrupt,
    task,
)
from tests.graphs import State, chain, interrupt_ids

Kind = Literal["node", "task", "graph", "graphs", "handler"]
KINDS: Final[tuple[Kind, ...]] = ("node", "task", "graph", "graphs", "handler")

WHOLE: Final = ["plan", "asked:1,2", "work x", "work y", "last"]
_ANSWERS: Final = {"first?": "1", "second?": "2"}


class Conversation:
    """`plan` goes to `ask` and sends two jobs; `ask` interrupts twice; `last` runs after it. `started` lists the nodes.

    The interrupts come from a node, a task that a node calls, a graph, a graph in a graph, or an error handler.
    """

    def __init__(self, kind: Kind = "node") -> None:
        self.kind = kind
        self.started: list[str] = []

    def graph(self, saver: Checkpointer) -> CompiledGraph[State]:
        """The graph, as a new process would build it."""

        async def plan(state: State) -> Command[Any]:
            self.started.append("plan")
            return Command(update={"log": ["plan"]}, goto=["ask", Send("work", "x"), Send("work", "y")])

        async def work(job: Any) -> State:
            self.started.append(f"work {job}")
            return {"log": [f"work {job}"]}

        async def last(state: State) -> State:
            self.started.append("last")
            return {"log": ["last"]}

        builder = StateGraph(State)
        builder.add_node("plan", plan, destinations=("ask", "work"))
        self._add_ask(builder)
        builder.add_node("work", work)
        builder.add_node("last", last)
        builder.add_edge(START, "plan")
        builder.add_edge("ask", "last")
        return builder.compile(saver)

    def _add_ask(self, builder: StateGraph[State]) -> None:
        match self.kind:
            case "node":
                builder.add_node("ask", self._ask)
            case "task":
                builder.add_node("ask", self._ask_by_tasks)
            case "graph":
                builder.add_node("ask", _calling(self._inner()))
            case "graphs":
                builder.add_node("ask", _calling(chain(("middle", _calling(self._inner()))).compile()))
            case "handler":
                policy = RetryPolicy(initial_interval=0, jitter=False, max_attempts=2)
                builder.add_node("ask", self._fail, error_handler=self._handle, retry_policy=policy)

    async def _ask(self, state: State) -> State:
        self.started.append("ask")
        return {"log": [f"asked:{interrupt('first?')},{interrupt('second?')}"]}

    async def _ask_by_tasks(self, state: State) -> State:
        @task
        async def prepare(text: str) -> str:
            self.started.append(text)
            return text

        @task
        async def ask(question: str) -> Any:
            return interrupt(question)

        await prepare("prepared")
        return {"log": [f"asked:{await ask('first?')},{await ask('second?')}"]}

    def _inner(self) -> CompiledGraph[State]:
        async def before(state: State) -> State:
            self.started.append("before")
            return {}

        return chain(("before", before), ("asks", self._ask)).compile()

    async def _fail(self, state: State) -> State:
        self.started.append("fail")
        raise ConnectionError

    async def _handle(self, state: State, error: NodeError) -> Command[Any]:
        return Command(update=await self._ask(state), goto="last")


def _calling(inner: CompiledGraph[State]) -> Any:
    async def call(state: State) -> State:
        return {"log": (await inner.ainvoke({}))["log"]}

    return call


async def run_to_end(graph: CompiledGraph[State], durability: Durability) -> Any:
    """Act as a caller that does not know of a crash: start or resume, and answer the interrupts."""
    snapshot = await graph.aget_state(thread_id="t")
    given: Any = None if snapshot.next else {}
    if snapshot.created_at is not None and not snapshot.next:
        return dict(snapshot.values)
    result: Any = await graph.ainvoke(given, thread_id="t", durability=durability)
    while "__interrupt__" in result:
        answers = {id_: _ANSWERS[question] for question, id_ in interrupt_ids(result).items()}
        result = await graph.ainvoke(Command(resume=answers), thread_id="t", durability=durability)
    return result
