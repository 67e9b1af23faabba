"""The CPU seconds of a PostgreSQL server: of its first process, of its children, and of those that have ended."""

import os
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PARENT, _OWN, _ALL = 1, slice(11, 13), slice(11, 15)
"""Fields of /proc/PID/stat behind the name of the program: see proc(5). `_ALL` has the children that have ended."""


def of_server(pid: int) -> float:
    """The CPU seconds so far. Needs Linux."""
    ticks = 0
    for path in Path("/proc").iterdir():
        if not path.name.isdigit():
            continue
        try:
            fields = (path / "stat").read_text("ascii").rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            # It has ended meanwhile.
            continue
        if int(path.name) == pid:
            ticks += sum(map(int, fields[_ALL]))
        elif int(fields[_PARENT]) == pid:
            ticks += sum(map(int, fields[_OWN]))
    return ticks / _TICKS
