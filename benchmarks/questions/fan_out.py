"""What does a task cost in a superstep of many tasks?"""

import asyncio

from benchmarks.contenders import NAMES, Place, contenders, places
from benchmarks.lab import Lab, Work
from benchmarks.shapes import fan_out, work


def in_a_task_group(width: int) -> Work:
    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work(number)) for number in range(width)]
        assert len(tasks) == width

    return run


async def measure(lab: Lab) -> None:
    for width in (100, 1_000, 10_000):
        shape = fan_out(lab.size(width, 3))
        async with contenders(lab, shape, Place("none")) as runs:
            await lab.measure(
                f"fan-out of {width:,}, no store",
                "task",
                {**runs, "asyncio.TaskGroup": in_a_task_group(shape.units)},
                shape.units,
                rounds=5 if width == 10_000 else 11,
                clock="CPU",
            )
    shape = fan_out(lab.size(1_000, 3))
    for place in places(lab, "memory", "sqlite", "postgres"):
        async with contenders(lab, shape, place) as runs:
            await lab.measure(
                f"fan-out of 1,000, {NAMES[place.kind]}",
                "task",
                runs,
                shape.units,
                rounds=7,
                flush=place.flush,
                clock=place.clock,
            )
