"""One `Send` for each subject that a model names, and a node that chooses among the results."""

import asyncio
import json
import operator
from typing import Annotated, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

subject_model = GenericFakeChatModel(messages=iter([AIMessage("lions, elephants, penguins")]))
last_has_run = asyncio.Event()
JOKES = {"lions": "They are mane characters.", "elephants": "They never forget.", "penguins": "They break the ice."}


class OverallState(TypedDict):
    topic: str
    subjects: list[str]
    jokes: Annotated[list[dict], operator.add]
    lengths: Annotated[dict[str, int], operator.or_]
    best: str


class JokeState(TypedDict):
    subject: str
    position: int


async def generate_topics(state: OverallState):
    answer = await subject_model.ainvoke(f"Subjects about {state['topic']}")
    return {"subjects": [part.strip() for part in answer.content.split(",")]}


def continue_to_jokes(state: OverallState):
    return [Send("generate_joke", {"subject": s, "position": i}) for i, s in enumerate(state["subjects"])]


async def generate_joke(state: JokeState):
    # The first task ends last, but its result is still the first.
    if state["position"] == 0:
        await last_has_run.wait()
    elif state["position"] == 2:
        last_has_run.set()
    joke = JOKES[state["subject"]]
    return {
        "jokes": [{"subject": state["subject"], "text": joke, "keys": sorted(state)}],
        "lengths": {state["subject"]: len(joke)},
    }


async def best_joke(state: OverallState):
    return {"best": min(state["jokes"], key=lambda joke: len(joke["text"]))["text"]}


builder = StateGraph(OverallState)
builder.add_node("generate_topics", generate_topics)
builder.add_node("generate_joke", generate_joke)
builder.add_node("best_joke", best_joke)
builder.add_edge(START, "generate_topics")
builder.add_conditional_edges("generate_topics", continue_to_jokes, ["generate_joke"])
builder.add_edge("generate_joke", "best_joke")
builder.add_edge("best_joke", END)
graph = builder.compile(checkpointer=InMemorySaver())


async def main():
    config = {"configurable": {"thread_id": "zoo"}, "max_concurrency": 2}
    updates = []
    async for update in graph.astream({"topic": "animals"}, config, stream_mode="updates"):
        updates.extend(update)
    state = await graph.aget_state(config)
    history = [[list(s.next), len(s.tasks)] async for s in graph.aget_state_history(config) if s.next != (START,)]
    return {"updates": updates, "values": state.values, "history": history}


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
