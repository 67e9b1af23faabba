"""Keys of a state that are no channels: what they hold says where a run is, and is made anew for each task."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True, slots=True)
class Place:
    """Which superstep is being run, and how many may still be, this one included."""

    step: int
    remaining: int


NOWHERE = Place(step=-1, remaining=0)
"""Where no superstep is being run: before the first, or after the last."""


class ManagedValue(ABC):
    """What computes such a key. Never instantiated: the class stands in `Annotated[<type>, <class>]`."""

    @staticmethod
    @abstractmethod
    def at(place: Place) -> Any:
        """The value for a task of this superstep."""


class IsLastStepManager(ManagedValue):
    """Whether the recursion limit allows no superstep after this one."""

    @staticmethod
    def at(place: Place) -> bool:
        return place.remaining == 1


class RemainingStepsManager(ManagedValue):
    """How many supersteps the recursion limit still allows, this one included."""

    @staticmethod
    def at(place: Place) -> int:
        return place.remaining


IsLastStep = Annotated[bool, IsLastStepManager]
"""As the type of a key: True in the last superstep that the recursion limit allows. Nobody writes it."""

RemainingSteps = Annotated[int, RemainingStepsManager]
"""As the type of a key: how many supersteps may still run, this one included. Nobody writes it."""
