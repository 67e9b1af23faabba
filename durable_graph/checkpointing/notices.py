"""Notices between the processes of a store, so that no process has to wait for its next poll."""

from collections.abc import Collection, Iterator

import msgspec


class RunReady(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="ready"):
    """A run of the queue may be due, or has another due time."""

    queue: str


class RunChanged(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="changed"):
    """The run has ended, is suspended, or was deleted. `thread_key` is the key of its thread."""

    thread_key: int
    seq: int


class WorkerAsked(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="asked"):
    """A run that the worker executes has a request for it, such as to cancel the run."""

    worker: int


class EventsAdded(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="events"):
    """The thread with this key may have new events."""

    thread_key: int


Notice = RunReady | RunChanged | WorkerAsked | EventsAdded
"""A notice is a reason to poll now, and carries no work. It may be lost, late, repeated or needless."""


class Wanted(msgspec.Struct, frozen=True):
    """The notices that a listener waits for now: by queue, by thread key and number of a run, by worker, and by the key
    of a thread with events."""

    queues: Collection[str] = ()
    runs: Collection[tuple[int, int]] = ()
    workers: Collection[int] = ()
    threads: Collection[int] = ()

    def __iter__(self) -> Iterator[Notice]:
        """All these notices, for a listener that may have missed some."""
        yield from map(RunReady, self.queues)
        yield from (RunChanged(*each) for each in self.runs)
        yield from map(WorkerAsked, self.workers)
        yield from map(EventsAdded, self.threads)
