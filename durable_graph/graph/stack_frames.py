"""Who is calling: the frames outside this package, for names that only they can resolve and for warnings."""

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def defining_scope(defined: Any) -> dict[str, Any]:
    """The local variables of the function in which a class or function was defined, while that function still runs.

    An annotation kept as text (`from __future__ import annotations`) may name a class that exists only there.
    """
    scope, local, _ = getattr(defined, "__qualname__", "").rpartition(".<locals>.")
    if not local:
        return {}
    for frame in _frames():
        if frame.f_code.co_qualname == scope and frame.f_globals.get("__name__") == defined.__module__:
            return dict(frame.f_locals)
    return {}


def depth_of_caller() -> int:
    """What to pass as `stacklevel` to a warning, so that it shows the line of the user's that led here."""
    for depth, frame in enumerate(_frames()):
        if frame.f_globals.get("__name__", "").partition(".")[0] != _PACKAGE:
            return depth
    return 1


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
