"""Look back at what a thread did, correct a step of its past, and let it go on from there.

python -m examples.time_travel
"""

import asyncio
from typing import TypedDict

from durable_graph import END, START, MemorySaver, StateGraph


class Joke(TypedDict, total=False):
    """A topic, and what was made of it."""

    topic: str
    joke: str


async def choose_topic(joke: Joke) -> Joke:
    """A step whose result turns out to be no good."""
    return {"topic": "taxes"}


async def tell(joke: Joke) -> Joke:
    """What depends on it."""
    return {"joke": f"a joke about {joke['topic']}"}


async def main() -> None:
    """Run, look back, correct, go on."""
    builder = StateGraph(Joke).add_node(choose_topic).add_node(tell)
    builder.add_edge(START, "choose_topic").add_edge("choose_topic", "tell").add_edge("tell", END)
    jokes = builder.compile(MemorySaver())
    await jokes.ainvoke({}, thread_id="t")

    print("What happened, newest first:")
    history = [snapshot async for snapshot in jokes.aget_state_history(thread_id="t")]
    for snapshot in history:
        print(f"  {snapshot.values}, next: {', '.join(snapshot.next) or 'nothing'}")

    # An update of an older checkpoint begins a line of its own there. It writes what `choose_topic` should have, so
    # what runs next is what follows that node.
    before_telling = next(snapshot for snapshot in history if snapshot.next == ("tell",))
    corrected = await jokes.aupdate_state(before_telling.config, {"topic": "cats"}, as_node="choose_topic")
    result = await jokes.ainvoke(None, corrected)
    print(f"Corrected: {result['joke']}")

    first = await jokes.aget_state(history[0].config)
    print(f"The first line is kept: {first.values['joke']}")
    newest = await jokes.aget_state(thread_id="t")
    print(f"The thread goes on from: {newest.values['joke']}")


if __name__ == "__main__":
    asyncio.run(main())
