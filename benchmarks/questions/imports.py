"""How long does an import take, in a new interpreter?"""

import asyncio
import sys

from benchmarks.lab import Lab
from benchmarks.record import FLOOR, LANGGRAPH, OURS

DEPENDENCIES = "import asyncio, anyio.to_thread, msgspec"


async def milliseconds(statement: str, before: str = "pass") -> float:
    """The time of a statement in a new interpreter that has run another one before."""
    program = f"{before}\nimport time\nbegan = time.perf_counter()\n{statement}\nprint(time.perf_counter() - began)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    assert process.returncode == 0, statement
    return round(float(printed) * 1e3, 2)


async def measure(lab: Lab) -> None:
    statements = {FLOOR: DEPENDENCIES, OURS: "import durable_graph"}
    if lab.peers:
        statements[LANGGRAPH] = "from langgraph.graph import StateGraph"
    alone: dict[str, list[float]] = {name: [] for name in statements}
    more: list[float] = []
    for number in range(lab.rounds(15) + 1):
        found = {name: await milliseconds(statement) for name, statement in statements.items()}
        over = await milliseconds("import durable_graph", before=DEPENDENCIES)
        # The first round may write byte code.
        if number:
            more.append(over)
            for name, figure in found.items():
                alone[name].append(figure)
    lab.add("import, with the dependencies", "import", alone, unit="ms")
    lab.add("import durable_graph, over its dependencies", "import", {OURS: more}, unit="ms")
