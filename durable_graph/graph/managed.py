"""Managed keys of a state: no channels, but values about the run's position, computed for each task."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True, slots=True)
class Place:
    """The number of the running superstep, and the number of supersteps that may still run, with this one."""

    step: int
    remaining: int


NOWHERE = Place(step=-1, remaining=0)
"""The place while no superstep runs: before the first, or after the last."""


class ManagedValue(ABC):
    """Computes the value of a managed key. Never instantiated: keys are declared as `Annotated[<type>, <class>]`."""

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
    """The number of supersteps that the recursion limit still allows, with this one."""

    @staticmethod
    def at(place: Place) -> int:
        return place.remaining


IsLastStep = Annotated[bool, IsLastStepManager]
"""The type of a key that is True in the last superstep that the recursion limit allows. No node writes it."""

RemainingSteps = Annotated[int, RemainingStepsManager]
"""The type of a key with the number of supersteps that may still run, with this one. No node writes it."""
