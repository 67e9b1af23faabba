"""Errors repeat a whole id, or the whole declaration of a union."""

from typing import Annotated, Any, Literal, TypedDict, Union

from durable_graph import DurableGraphError
from tests.cases._case import one_node, outcome, run


async def case(store):
    from pydantic import BaseModel, Discriminator, Tag

    def message(number: int) -> Any:
        name = f"KindOfMessage{number}"
        return type(name, (BaseModel,), {"__annotations__": {"type": Literal[name]}, "__module__": __name__})

    kinds = [message(number) for number in range(12)]
    union = Annotated[
        Union[tuple(Annotated[kind, Tag(kind.__name__)] for kind in kinds)],  # noqa: UP007  # of a tuple
        Discriminator(lambda value: value["type"]),
    ]
    schema = TypedDict("State", {"messages": list[union]}, total=False)
    async with store.saver() as saver:
        graph = one_node(schema, lambda s: {}).compile(saver)
        ends = {
            "a dict in place of a message": await outcome(
                graph.ainvoke({"messages": [{"role": "user"}]}, thread_id="t")
            ),
            "a thread id that is too long": await outcome(graph.ainvoke({}, thread_id="x" * 5_000)),
        }
    lengths = {name: len(str(end)) for name, end in ends.items()}
    are_errors = all(isinstance(end, DurableGraphError) for end in ends.values())
    return "errors of at most 400 characters", lengths, are_errors and max(lengths.values()) <= 400


run(case, needs=("pydantic",))
