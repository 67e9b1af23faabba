"""The protocol of a notifier: a power of a saver, which `isinstance(saver, Notifies)` finds."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from durable_graph.checkpointing.notices import Notice, Wanted


@runtime_checkable
class Listening(Protocol):
    """A listener that has been added."""

    def close(self) -> None:
        """Remove it: its callback is not called any more. Calling it again does nothing."""
        ...


@runtime_checkable
class Notifier(Protocol):
    """Passes notices of changes of the store to listeners, in this process and in others.

    Notices save time, and nothing else depends on them: every listener also polls the store. So a notifier may lose
    notices, and may do nothing at all. No method raises an error of the store, waits, or does I/O in the event loop.
    """

    def notify(self, *notices: Notice) -> None:
        """Pass the notices on, soon, to every listener of every process that has this store. The changes that they
        report have to be durable. Needs a running event loop."""
        ...

    def listen(self, callback: Callable[[Notice], None], wanted: Callable[[], Wanted]) -> Listening:
        """Call back in the running event loop for notices, from now on until `close`.

        `wanted` returns what the listener waits for at that moment. It is called from any thread, and has to be quick.
        Callbacks may also get notices that are not wanted. After a time without a connection they get all wanted ones.
        """
        ...


@runtime_checkable
class Notifies(Protocol):
    """A saver with the power to notify other processes: `isinstance(saver, Notifies)`."""

    @property
    def notifier(self) -> Notifier:
        """The notifier of the saver's store."""
        ...
