"""What does a superstep that changes one channel of 300 cost more than one that changes one of 3?"""

from benchmarks.contenders import NAMES, contenders, places
from benchmarks.lab import Lab
from benchmarks.record import FLOOR
from benchmarks.shapes import wide

FEW, MANY = 3, 300


async def measure(lab: Lab) -> None:
    length = lab.size(20, 2)
    for place in places(lab, "none", "memory"):
        async with (
            contenders(lab, wide(FEW, length), place) as few,
            contenders(lab, wide(MANY, length), place) as many,
        ):
            works = {(name, channels): runs[name] for channels, runs in ((FEW, few), (MANY, many)) for name in runs}
            samples = await lab.timed(
                {f"{name} {channels}": run for (name, channels), run in works.items()}, length, rounds=21, clock="CPU"
            )
        figures = {channels: {name: samples[f"{name} {channels}"] for name in few} for channels in (FEW, MANY)}
        for channels, found in figures.items():
            lab.add(f"state of {channels} channels, {NAMES[place.kind]}", "superstep", found, clock="CPU")
        # The floor hands out the state itself, so that many channels cost it nothing.
        more = {name: _differences(found, figures[FEW][name]) for name, found in figures[MANY].items() if name != FLOOR}
        lab.add(f"what {MANY} channels add to {FEW}, {NAMES[place.kind]}", "superstep", more, clock="CPU")


def _differences(greater: list[float], smaller: list[float]) -> list[float]:
    return [round(one - other, 3) for one, other in zip(greater, smaller, strict=True)]
