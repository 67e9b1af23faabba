"""What does a superstep cost on the saver in memory?"""

from benchmarks.contenders import Place, contenders
from benchmarks.lab import Lab
from benchmarks.shapes import chain


async def measure(lab: Lab) -> None:
    shape = chain(lab.size(100, 3))
    async with contenders(lab, shape, Place("memory")) as runs:
        await lab.measure("chain, memory", "superstep", runs, shape.units, rounds=21, clock="CPU")
