"""Files that only their owner can read: the states of threads are in them in clear."""

import os
import stat
import sys
from pathlib import Path

_OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR


def create_private(path: Path) -> None:
    """Create an empty file that only its owner can read and write; a file that is there is left as it is.

    SQLite gives its other files (the log, its index, a journal) the mode of the database. Raises `OSError`.
    """
    # SQLite follows symbolic links, also one whose target is missing: that is where it would create the file.
    real = Path(os.path.realpath(path))
    if real.exists():
        return
    try:
        if sys.platform == "linux":
            # Not opened, so not closed either: closing a file drops all locks that the process has on it, those of
            # another connection as well, which may have found the file a moment after it was made.
            os.mknod(real, _OWNER_ONLY | stat.S_IFREG)
        else:
            os.close(os.open(real, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))
    except FileExistsError:
        # Another process was faster, and has given it its mode.
        return
