"""Errors of stores, and of wrong uses of savers."""

from collections.abc import Iterable

from durable_graph.errors.tree import DurableGraphError, names


class StoreUnavailableError(DurableGraphError):
    """The store cannot be written or read now. No new node was started; the thread stays resumable."""

    def __init__(self, store: str, why: str) -> None:
        self.store = store
        self.why = why
        super().__init__(f"{store} is not available: {why}")


class StoreReadOnlyError(StoreUnavailableError):
    """The store can be read but not written."""


class StoreFullError(StoreUnavailableError):
    """There is no space left for the store."""


class StoreLockedError(StoreUnavailableError):
    """Another process held the lock of the store's file for longer than the call's limit. The call wrote nothing.

    `waited` is in seconds. `holder` is the process's id, if the system reports it, and `is_stopped` says whether that
    process is stopped: by SIGSTOP, in a debugger, in a frozen container.
    """

    def __init__(self, store: str, *, waited: float, holder: int | None = None, is_stopped: bool = False) -> None:
        self.waited = waited
        self.holder = holder
        self.is_stopped = is_stopped
        who = "another process" if holder is None else f"process {holder}"
        why = f"{who} has kept it locked for the {waited:g} seconds that this call waited, and nothing was written"
        if is_stopped:
            remedy = f"that process is stopped: continue it (kill -CONT {holder}) or end it"
        else:
            remedy = "if that process is stopped or hangs in a write, continue or end it"
        super().__init__(store, f"{why}; {remedy}, then make the call again")


class BackupError(DurableGraphError):
    """The backup was not made. A file that was at its path is unchanged."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"no backup was made at {path}: {why}")


class StoreConfigurationError(DurableGraphError):
    """The store refuses the saver's configuration: a password, a name, a privilege, a setting. A retry is no remedy."""

    def __init__(self, store: str, why: str, *, remedy: str) -> None:
        self.store = store
        self.why = why
        self.remedy = remedy
        super().__init__(f"{store} cannot be used as it is configured: {why}; {remedy}")


class NotADatabaseError(DurableGraphError):
    """A file that the saver did not create and does not change."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{path} cannot be used as a store: {why}; it was not changed: choose another path")


class StoreFormatError(DurableGraphError):
    """A store in a format that this version of the library cannot read: a newer or an unreleased format.

    `found` is the store's format; `supported` is the newest supported format, `oldest` the oldest. The store is not
    changed.
    """

    def __init__(self, store: str, *, found: int, supported: int, oldest: int = 1) -> None:
        self.store = store
        self.found = found
        self.supported = supported
        self.oldest = oldest
        if found > supported:
            remedy = f"this version of durable-graph reads up to {supported}; upgrade durable-graph"
        else:
            remedy = (
                f"this version of durable-graph reads from {oldest} to {supported}; there is no conversion "
                f"from a format before the first release: name another file or schema"
            )
        super().__init__(f"{store} has format {found} and {remedy}")


class ExportFormatError(DurableGraphError):
    """A file that `import_threads` cannot read: no export, of another version, incomplete or damaged.

    Nothing was imported.
    """

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        self.why = why
        super().__init__(f"{path} cannot be imported: {why}; export the threads again")


class UnknownBackendError(DurableGraphError, LookupError):
    """A checkpointer URL with a scheme that no installed backend handles."""

    def __init__(self, scheme: str, *, known: Iterable[str]) -> None:
        self.scheme = scheme
        self.known: tuple[str, ...] = tuple(sorted(known))
        if not scheme:
            problem = "a checkpointer's URL begins with a scheme"
            remedy = "write sqlite:///runs.db, or SqliteSaver('runs.db')"
        else:
            problem = f"no installed backend handles the scheme {scheme!r}"
            remedy = f"install the backend with its extra, as in: pip install 'durable-graph[{scheme}]'"
        super().__init__(f"{problem}; installed: {names(self.known)}; {remedy}")


class MissingDriverError(DurableGraphError, ImportError):
    """A backend that is installed without the driver that it needs."""

    def __init__(self, scheme: str, driver: str) -> None:
        self.scheme = scheme
        self.driver = driver
        super().__init__(f"{scheme!r} needs {driver!r}, which is not installed: pip install {driver}")


class CheckpointerMisuseError(DurableGraphError, RuntimeError):
    """A checkpointer was used in the wrong place or at the wrong time."""


class CheckpointerClosedError(CheckpointerMisuseError):
    """The checkpointer was closed."""

    def __init__(self, saver: str) -> None:
        self.saver = saver
        super().__init__(f"{saver} was closed; keep the call inside its `async with`, which may be entered again")


class CheckpointerForkedError(CheckpointerMisuseError):
    """The process forked after the checkpointer was opened."""

    def __init__(self, saver: str) -> None:
        self.saver = saver
        super().__init__(
            f"{saver} was opened before a fork(), and its connection is the parent's; open a saver in each process"
        )


class CheckpointerLoopError(CheckpointerMisuseError):
    """The checkpointer belongs to another event loop, which is not closed."""

    def __init__(self, saver: str) -> None:
        self.saver = saver
        super().__init__(
            f"{saver} is in use by another event loop, which is not closed; await the call in that loop, close that "
            f"loop first, or open a separate saver for each loop"
        )
