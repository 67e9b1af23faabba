"""Files that appear under their names complete, or not at all. All functions block."""

import errno
import os
from pathlib import Path


def publish(partial: Path, target: Path) -> None:
    """Give a complete file its name, durably. Raises `FileExistsError` if a file has this name already."""
    try:
        # Unlike a rename, a hard link does not replace a file that was created since.
        target.hardlink_to(partial)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        # The file system has no hard links.
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        partial.rename(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Flush a file's content, or a directory's names, to the disk, so that they survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
