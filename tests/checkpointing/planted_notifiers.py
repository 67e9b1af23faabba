"""Notifiers with one bug each."""

from collections.abc import Callable

from durable_graph import MemorySaver
from durable_graph.checkpointing.listeners import Callback, Listener, LocalNotifier
from durable_graph.checkpointing.notices import EventsAdded, Notice, RunChanged, RunReady, Wanted, WorkerAsked
from durable_graph.checkpointing.notifier import Listening


class Dropping(LocalNotifier):
    """Loses the notices of some kinds that are sent alone."""

    kinds: tuple[type[Notice], ...] = ()

    def notify(self, *notices: Notice) -> None:
        super().notify(*(each for each in notices if len(notices) > 1 or not isinstance(each, self.kinds)))


class DropsReadyRuns(Dropping):
    kinds = (RunReady,)


class DropsChangedRuns(Dropping):
    kinds = (RunChanged,)


class DropsRequests(Dropping):
    kinds = (WorkerAsked,)


class DropsEvents(Dropping):
    kinds = (EventsAdded,)


class TellsOneListener(LocalNotifier):
    def notify(self, *notices: Notice) -> None:
        self._listeners.tell(notices, list(self._listeners)[:1])


class TellsTheFirstNotice(LocalNotifier):
    def notify(self, *notices: Notice) -> None:
        super().notify(*notices[:1])


class TellsFewNotices(LocalNotifier):
    def notify(self, *notices: Notice) -> None:
        super().notify(*notices[:500])


class TellsOnce(LocalNotifier):
    """Passes each notice on only once."""

    def __init__(self) -> None:
        super().__init__()
        self._said: set[Notice] = set()

    def notify(self, *notices: Notice) -> None:
        super().notify(*(each for each in notices if each not in self._said))
        self._said.update(notices)


class Lasting:
    """A listener that cannot be removed."""

    def close(self) -> None:
        pass


class KeepsListeners(LocalNotifier):
    def listen(self, callback: Callback, wanted: Callable[[], Wanted]) -> Listening:
        super().listen(callback, wanted)
        return Lasting()


class ListensOnce(LocalNotifier):
    """Once all listeners were closed, later ones receive no notices."""

    def __init__(self) -> None:
        super().__init__()
        self._is_over = False

    def listen(self, callback: Callback, wanted: Callable[[], Wanted]) -> Listening:
        notifier, listener = self, self._listeners.add(callback, wanted)

        class Last(Listener):
            def close(self) -> None:
                listener.close()
                notifier._is_over = True

        return Last(self._listeners, callback, wanted)

    def notify(self, *notices: Notice) -> None:
        if not self._is_over:
            super().notify(*notices)


class NeedsAnOpenSaver(LocalNotifier):
    is_closed = False

    def notify(self, *notices: Notice) -> None:
        assert not self.is_closed, "the saver is closed"
        super().notify(*notices)


class ClosesForGood(MemorySaver):
    async def aclose(self) -> None:
        await super().aclose()
        assert isinstance(self.notifier, NeedsAnOpenSaver)
        self.notifier.is_closed = True
