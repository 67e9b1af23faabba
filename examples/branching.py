"""A router decides what runs next, and leads back until the draft is long enough.

python -m examples.branching
"""

import asyncio
from typing import TypedDict

from durable_graph import END, START, StateGraph


class Essay(TypedDict):
    """No reducers: every write replaces the value."""

    draft: str
    wanted: int


async def write(essay: Essay) -> dict[str, str]:
    """Add a word. A node returns the keys that it changes, no more."""
    return {"draft": f"{essay['draft']} word".strip()}


async def publish(essay: Essay) -> dict[str, str]:
    """The way out of the loop."""
    return {"draft": essay["draft"] + "."}


def review(essay: Essay) -> str:
    """A router: called with the state as `write` left it, it says what it found, in its own words."""
    return "good" if len(essay["draft"].split()) >= essay["wanted"] else "too short"


async def main() -> None:
    """Tell which node ran, and what it wrote."""
    builder = StateGraph(Essay).add_node(write).add_node(publish)
    builder.add_edge(START, "write")
    # The path_map turns the router's words into nodes. It lists all the ways that the graph can take.
    builder.add_conditional_edges("write", review, {"good": "publish", "too short": "write"})
    builder.add_edge("publish", END)

    async for update in builder.compile().astream({"draft": "", "wanted": 3}):
        print(update)


if __name__ == "__main__":
    asyncio.run(main())
