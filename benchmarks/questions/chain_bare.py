"""What does a superstep cost without a store?"""

from benchmarks.contenders import Place, contenders
from benchmarks.lab import Lab
from benchmarks.shapes import add_one, chain


async def measure(lab: Lab) -> None:
    shape = chain(lab.size(100, 3))

    async def only_the_nodes() -> None:
        state = {"count": 0}
        for _ in range(shape.units):
            state = await add_one(state)

    async with contenders(lab, shape, Place("none")) as runs:
        await lab.measure(
            "chain, no store",
            "superstep",
            {**runs, "await of the nodes": only_the_nodes},
            shape.units,
            rounds=21,
            clock="CPU",
        )
