"""Files that appear under their names complete, or not at all. Everything here blocks."""

import errno
import os
from pathlib import Path


def publish(partial: Path, target: Path) -> None:
    """Give a complete file its name, on the disk as well. Raises `FileExistsError` if there is one of this name."""
    try:
        # Unlike renaming, it does not replace what has come there meanwhile.
        target.hardlink_to(partial)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # A file system without links.
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        partial.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Have what a file holds, or the names in a directory, survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
