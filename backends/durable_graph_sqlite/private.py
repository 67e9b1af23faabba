"""Files that only their owner can read, because they contain the states of threads unencrypted."""

import os
import stat
import sys
from pathlib import Path

_OWNER_ONLY = stat.S_IRUSR | stat.S_IWUSR


def create_private(path: Path) -> None:
    """Create an empty file that only its owner can read and write; an existing file is left unchanged.

    SQLite gives its other files (the log, its index, a journal) the mode of the database. Raises `OSError`.
    """
    # SQLite follows symbolic links, and would create a missing target of a link.
    real = Path(os.path.realpath(path))
    if real.exists():
        return
    try:
        if sys.platform == "linux":
            # `mknod` does not open the file. Closing a file drops all locks that the process has on it, including those
            # of another connection that opened the file a moment after its creation.
            os.mknod(real, _OWNER_ONLY | stat.S_IFREG)
        else:
            os.close(os.open(real, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _OWNER_ONLY))
    except FileExistsError:
        # Another process was faster, and has set the mode.
        return
