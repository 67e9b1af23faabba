"""Errors of stores, and of wrong uses of savers."""

from collections.abc import Iterable
from typing import Final, Literal, Self

from durable_graph.errors.tree import DurableGraphError, names


class StoreUnavailableError(DurableGraphError):
    """The store cannot be written or read now. No new node was started; the thread stays resumable.

    `kind` is "unreachable" if it does not answer or fails, "read_only" if it can be read but not written, "full" if
    there is no space left, and "locked" for a `StoreLockedError`.
    """

    def __init__(
        self, store: str, why: str, *, kind: Literal["unreachable", "read_only", "full", "locked"] = "unreachable"
    ) -> None:
        self.kind: Literal["unreachable", "read_only", "full", "locked"] = kind
        self.store = store
        self.why = why
        super().__init__(f"{store} is not available: {why}")


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
        super().__init__(store, f"{why}; {remedy}, then make the call again", kind="locked")


class StoreConfigurationError(DurableGraphError):
    """The saver's configuration does not lead to a store that it can use. A retry is no remedy.

    `kind` is "settings" if the store refuses a password, a name, a privilege or a setting, and "foreign_file" if the
    file is none that the saver created; it was not changed.
    """

    def __init__(
        self,
        store: str,
        why: str,
        *,
        remedy: str,
        kind: Literal["settings", "foreign_file"] = "settings",
    ) -> None:
        self.kind: Literal["settings", "foreign_file"] = kind
        self.store = store
        self.why = why
        self.remedy = remedy
        what = "cannot be used as it is configured" if kind == "settings" else "cannot be used as a store"
        super().__init__(f"{store} {what}: {why}; {remedy}")

    @classmethod
    def of_foreign_file(cls, path: str, why: str) -> Self:
        """A file that the saver did not create and does not change."""
        return cls(path, why, remedy="it was not changed: choose another path", kind="foreign_file")


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


class TransferError(DurableGraphError):
    """A backup or an import of threads was not made.

    `kind` is "backup" if the backup was not made: a file that was at `path` is unchanged. It is "import" if the file
    cannot be read as an export: it is none, of another version, incomplete or damaged. Nothing was imported.
    """

    def __init__(self, path: str, why: str, *, kind: Literal["backup", "import"]) -> None:
        self.kind: Literal["backup", "import"] = kind
        self.path = path
        self.why = why
        if kind == "backup":
            text = f"no backup was made at {path}: {why}"
        else:
            text = f"{path} cannot be imported: {why}; export the threads again"
        super().__init__(text)


class MissingBackendError(DurableGraphError, ImportError):
    """A checkpointer URL whose backend is not installed.

    `kind` is "backend" if no installed backend handles the scheme, and "driver" if the backend is installed without its
    driver, `driver`. `known` are the schemes of the installed backends.
    """

    def __init__(self, scheme: str, *, known: Iterable[str], driver: str | None = None) -> None:
        self.kind: Literal["backend", "driver"] = "backend" if driver is None else "driver"
        self.scheme = scheme
        self.driver = driver
        self.known: tuple[str, ...] = tuple(sorted(known))
        if driver is not None:
            text = f"{scheme!r} needs {driver!r}, which is not installed: pip install {driver}"
        elif scheme:
            text = (
                f"no installed backend handles the scheme {scheme!r}; installed: {names(self.known)}; "
                f"install the backend with its extra, as in: pip install 'durable-graph[{scheme}]'"
            )
        else:
            text = (
                f"a checkpointer's URL begins with a scheme; installed: {names(self.known)}; "
                f"write sqlite:///runs.db, or SqliteSaver('runs.db')"
            )
        super().__init__(text)


class CheckpointerMisuseError(DurableGraphError, RuntimeError):
    """A checkpointer was used in the wrong place or at the wrong time.

    `kind` is "closed" if it was closed; "forked" if the process forked after it was opened; "loop" if it belongs to
    another event loop, which is not closed. `saver` is its name.
    """

    def __init__(self, saver: str, *, kind: Literal["closed", "forked", "loop"]) -> None:
        self.kind: Literal["closed", "forked", "loop"] = kind
        self.saver = saver
        super().__init__(f"{saver} {_MISUSES[kind]}")


_MISUSES: Final = {
    "closed": "was closed; keep the call inside its `async with`, which may be entered again",
    "forked": "was opened before a fork(), and its connection is the parent's; open a saver in each process",
    "loop": "is in use by another event loop, which is not closed; await the call in that loop, close that loop first, "
    "or open a separate saver for each loop",
}
