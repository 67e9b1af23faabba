"""As many tasks as there are pieces of work: a router returns a `Send` for each, and a node gathers the results.

python -m examples.map_reduce
"""

import asyncio
import operator
from typing import Annotated, TypedDict

from durable_graph import END, START, Send, StateGraph


class Survey(TypedDict, total=False):
    """The reducer of `counts` puts together what the tasks write, each of them one entry."""

    texts: list[str]
    counts: Annotated[dict[str, int], operator.or_]
    longest: str


class Piece(TypedDict):
    """What one task is given, in place of the state."""

    text: str


def each_text(survey: Survey) -> list[Send]:
    """The map: how many tasks there are is known only now."""
    return [Send("count", Piece(text=text)) for text in survey["texts"]]


async def count(piece: Piece) -> Survey:
    """Runs once for each Send, all of them side by side."""
    return {"counts": {piece["text"]: len(piece["text"].split())}}


async def choose(survey: Survey) -> Survey:
    """The reduce: one superstep later, so all the results are there, in the order of the Sends."""
    return {"longest": max(survey["counts"], key=lambda text: survey["counts"][text])}


async def main() -> None:
    """Count three texts at once."""
    builder = StateGraph(Survey).add_node("count", count, input_schema=Piece).add_node(choose)
    builder.add_conditional_edges(START, each_text, ["count"])
    builder.add_edge("count", "choose").add_edge("choose", END)

    result = await builder.compile().ainvoke({"texts": ["a word", "one", "three words here"], "counts": {}})
    for text, words in result["counts"].items():
        print(f"{words} in {text!r}")
    print(f"The longest: {result['longest']!r}")


if __name__ == "__main__":
    asyncio.run(main())
