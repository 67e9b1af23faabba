"""A pydantic alias as an input key is refused, and the error does not mention aliases."""

from durable_graph import StateKeyError
from tests.cases._case import one_node, outcome, run, shown


async def case(store):
    from pydantic import BaseModel, Field

    class State(BaseModel):
        user_name: str = Field(alias="userName")

    async with store.saver() as saver:
        graph = one_node(State, lambda s: {}).compile(saver)
        end = await outcome(graph.ainvoke({"userName": "amy"}, thread_id="t"))
    is_right = isinstance(end, StateKeyError) and end.alias_of == "user_name"
    return "StateKeyError, which says that it is the alias of user_name", shown(end, 400), is_right


run(case, needs=("pydantic",))
