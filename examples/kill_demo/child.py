"""The process that is killed, and the one after it: `python -m examples.kill_demo.child OUTPUT THREAD FOLDER`.

It is started twice with the same arguments and knows nothing of that.
"""

import asyncio
import sys
from pathlib import Path

from durable_graph import CompiledGraph
from durable_graph_sqlite import SqliteSaver
from examples.kill_demo.graph import Analysis, build_graph
from examples.kill_demo.ledger import Ledger
from examples.kill_demo.run import Run

AT_ONCE = 4


async def run_or_resume(graph: CompiledGraph[Analysis], thread: str, folder: Path) -> None:
    """Run the thread to its end, from wherever it stands."""
    state = await graph.aget_state(thread_id=thread)
    # None means: go on from where the thread was left.
    given: Analysis | None = None if state.next else {"folder": str(folder)}
    await graph.ainvoke(given, thread_id=thread, max_concurrency=AT_ONCE)


async def main(run: Run) -> None:
    """What one process does."""
    async with SqliteSaver(run.store) as saver:
        graph = build_graph(Ledger(run.ledger), run.report).compile(saver)
        await run_or_resume(graph, run.thread, run.folder)


if __name__ == "__main__":
    output, thread, folder = sys.argv[1:]
    asyncio.run(main(Run(Path(output), thread, Path(folder))))
