"""A chat that outlives its process. Each call of this program is one turn, and the thread has the others.

python -m examples.chat_history "I am Ada"
python -m examples.chat_history "Who am I?"
"""

import asyncio
import operator
import sys
from typing import Annotated, TypedDict

from durable_graph import END, START, StateGraph
from durable_graph_sqlite import SqliteSaver


class Chat(TypedDict):
    """The reducer `operator.add` appends what a node returns to the messages that are there already."""

    messages: Annotated[list[str], operator.add]


async def answer(chat: Chat) -> Chat:
    """Where a model would be asked. It is given the whole history."""
    asked = [message.removeprefix("you: ") for message in chat["messages"] if message.startswith("you: ")]
    return {"messages": [f"bot: That was message {len(asked)}. Your first one was {asked[0]!r}."]}


async def main(said: str) -> None:
    """One turn of the thread "ada", in the file chat.db."""
    builder = StateGraph(Chat).add_node(answer).add_edge(START, "answer").add_edge("answer", END)
    async with SqliteSaver("chat.db") as saver:
        chat = builder.compile(saver)
        state = await chat.ainvoke({"messages": [f"you: {said}"]}, thread_id="ada")
    print("\n".join(state["messages"]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "Hello"))
