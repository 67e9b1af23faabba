"""Errors of schedules: unknown names, and names whose stored content differs."""

from collections.abc import Iterable

from durable_graph.errors.tree import DurableGraphError, quoted


class UnknownScheduleError(DurableGraphError, LookupError):
    """The store has no such schedule: it was never made, or it was deleted. `schedule` is the name or the id."""

    def __init__(self, schedule: str) -> None:
        self.schedule = schedule
        super().__init__(
            f"there is no schedule {quoted(schedule, 100)} in this store; make it with app.schedule(...), "
            f"or list those that exist with app.schedules()"
        )


class ScheduleExistsError(DurableGraphError, ValueError):
    """The store has a schedule of this name with different content. Nothing was changed.

    `differences` are the options whose values differ.
    """

    def __init__(self, schedule: str, *, differences: Iterable[str]) -> None:
        self.schedule = schedule
        self.differences: tuple[str, ...] = tuple(differences)
        name = quoted(schedule, 80)
        super().__init__(
            f"the store has a schedule {name} with another value of {', '.join(self.differences)}; change it with "
            f"(await app.find_schedule({name})).change(...), pass if_different='change', or choose another name"
        )
