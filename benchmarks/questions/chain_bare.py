"""What does a superstep cost without a store?"""

from benchmarks.contenders import Place, RunOnce, contenders
from benchmarks.lab import Lab
from benchmarks.langchain import served
from benchmarks.record import LANGGRAPH, OURS
from benchmarks.shapes import add_one, chain


async def measure(lab: Lab) -> None:
    shape = chain(lab.size(100, 3))

    async def only_the_nodes() -> None:
        state = {"count": 0}
        for _ in range(shape.units):
            state = await add_one(state)

    async with contenders(lab, shape, Place("none")) as runs:

        async def with_langchain() -> None:
            with served():
                await runs[OURS]()

        others: dict[str, RunOnce] = {"await of the nodes": only_the_nodes}
        if LANGGRAPH in runs:
            others[f"{OURS}, serving LangChain"] = with_langchain
        await lab.measure(
            "chain, no store",
            "superstep",
            {**runs, **others},
            shape.units,
            rounds=21,
            clock="CPU",
        )
