"""Go back to an older checkpoint and take another way from there. What came of the first way stays readable.

python -m examples.fork
"""

import asyncio
import operator
from typing import Annotated, TypedDict

from durable_graph import END, START, MemorySaver, StateGraph


class Game(TypedDict):
    """The moves of both players."""

    moves: Annotated[list[str], operator.add]


async def reply(game: Game) -> Game:
    """The other player."""
    return {"moves": [f"reply to {game['moves'][-1]}"]}


async def main() -> None:
    """Play two moves, take the second one back, and compare."""
    builder = StateGraph(Game).add_node(reply).add_edge(START, "reply").add_edge("reply", END)
    chess = builder.compile(MemorySaver())

    await chess.ainvoke({"moves": ["e4"]}, thread_id="game")
    after_e4 = await chess.aget_state(thread_id="game")
    await chess.ainvoke({"moves": ["f4"]}, thread_id="game")
    after_f4 = await chess.aget_state(thread_id="game")
    print(f"Played:      {after_f4.values['moves']}")

    # The config of a snapshot leads to its checkpoint: a call with it starts from there, on a line of its own.
    forked = await chess.ainvoke({"moves": ["Nf3"]}, after_e4.config)
    print(f"Forked:      {forked['moves']}")

    kept = await chess.aget_state(after_f4.config)
    print(f"Still there: {kept.values['moves']}")


if __name__ == "__main__":
    asyncio.run(main())
