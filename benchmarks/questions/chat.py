"""What does a turn of a long chat cost, with a router that decides whether it continues?"""

from benchmarks.contenders import NAMES, contenders, places
from benchmarks.lab import Lab
from benchmarks.shapes import chat


async def measure(lab: Lab) -> None:
    shape = chat(lab.size(1_000, 3))
    for place in places(lab, "none", "postgres"):
        # LangGraph needs a quarter of a minute for a round on PostgreSQL.
        rounds = 7 if place.kind == "none" else 3
        async with contenders(lab, shape, place) as runs:
            await lab.measure(
                f"chat of {shape.units:,} turns, {NAMES[place.kind]}",
                "turn",
                runs,
                shape.units,
                rounds=rounds,
                flush=place.flush,
                clock=place.clock,
                is_warm=place.kind != "none",
            )
