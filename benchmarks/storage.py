"""How a SQLite file grows, and what reading the latest state costs. Values are random: they do not compress."""

import asyncio
import operator
import random
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

from durable_graph import END, START, StateGraph
from durable_graph_sqlite import SqliteSaver

STEPS = 1000
ITEM = 200


class Appending(TypedDict):
    items: Annotated[list[bytes], operator.add]


async def append(state: Appending) -> Appending:
    return {"items": [random.randbytes(ITEM)]}


def appending() -> Any:
    builder = StateGraph(Appending)
    builder.add_node("append", append)
    builder.add_edge(START, "append")
    builder.add_conditional_edges("append", lambda state: END if len(state["items"]) >= STEPS else "append")
    return builder


def one_of_many(width: int) -> Any:
    """A state of `width` channels, of which each superstep changes one."""
    # mypy reads literal dictionaries only.
    wide: Any = TypedDict("wide", {f"channel_{place}": bytes for place in range(width)}, total=False)  # type: ignore[misc]
    ran = 0

    async def change(state: Any) -> Any:
        nonlocal ran
        ran += 1
        return {f"channel_{ran % width}": random.randbytes(100)}

    builder = StateGraph(wide)
    builder.add_node("change", change)
    builder.add_edge(START, "change")
    builder.add_conditional_edges("change", lambda _: END if ran % STEPS == 0 else "change")
    return builder, {f"channel_{place}": random.randbytes(100) for place in range(width)}


async def grown(builder: Any, value: Any) -> tuple[int, float]:
    """The file's size in bytes after the run and a close, and the seconds of a first read in a new process's place."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.db"
        async with SqliteSaver(path) as saver:
            await builder.compile(saver).ainvoke(value, thread_id="t")
        size = path.stat().st_size
        async with SqliteSaver(path) as saver:
            graph = builder.compile(saver)
            await saver.list_threads()
            began = time.perf_counter()
            await graph.aget_state(thread_id="t")
            return size, time.perf_counter() - began


def main() -> None:
    size, read = asyncio.run(grown(appending(), {"items": []}))
    print(f"\n{STEPS} supersteps that append {ITEM} bytes: {size:,} bytes, {size / STEPS / ITEM:.1f} x the payload")
    print(f"reading the latest state of it: {read * 1e3:.1f} ms")
    builder, start = one_of_many(300)
    size, read = asyncio.run(grown(builder, start))
    print(f"{STEPS} supersteps that change one of 300 channels by 100 bytes: {size / STEPS:,.0f} bytes each")
    print(f"reading the latest state of it: {read * 1e3:.1f} ms")


if __name__ == "__main__":
    main()
