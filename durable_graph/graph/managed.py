"""Values that say where a run is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Place:
    """Which superstep is being run, and how many may still be, this one included."""

    step: int
    remaining: int
