"""The process that holds a lock on a SQLite file, on Linux, which lists locks."""

import os
from pathlib import Path
from typing import NamedTuple

_LOCKS = Path("/proc/locks")
_WRITERS_BYTE = "120"
"""The byte of the log's index that a writer locks: WAL_WRITE_LOCK in SQLite's description of its file format."""


class Holder(NamedTuple):
    """The process that blocks other writers; `pid` is None if it is unknown."""

    pid: int | None
    is_stopped: bool


_UNKNOWN = Holder(None, is_stopped=False)


def holder_of(path: Path) -> Holder:
    """The process that has a write lock on the file or on the index of its log.

    The function opens only the system's list of locks: closing the file itself would drop the locks that this process
    has on it. Blocks.
    """
    try:
        # The index is in the directory of the file itself, not of a link to it.
        index = Path(f"{os.path.realpath(path)}-shm")
        files = {_name_in_list(path): None, **({_name_in_list(index): _WRITERS_BYTE} if index.exists() else {})}
        lines = _LOCKS.read_text("ascii").splitlines()
    except OSError:
        # The system has no such list, or the file was removed meanwhile.
        return _UNKNOWN
    for line in lines:
        # "1: POSIX  ADVISORY  WRITE 4711 fe:00:2221346 120 120"; for a waiting process, "->" precedes "POSIX".
        words = line.split()
        if words[1] != "POSIX" or words[3] != "WRITE" or words[5] not in files:
            continue
        pid = int(words[4])
        if pid > 0 and files[words[5]] in (None, words[6]):
            return Holder(pid, _is_stopped(pid))
    return _UNKNOWN


def _name_in_list(path: Path) -> str:
    found = path.stat()
    return f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"


def _is_stopped(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        # The process has ended.
        return False
    # The state follows the program's name in brackets, which may contain brackets. T: stopped, t: by a debugger.
    return text.rpartition(")")[2].split()[0] in ("T", "t")
