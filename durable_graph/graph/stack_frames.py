"""Stack frames of callers outside this package, for local names in annotations and for warnings."""

import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

_PACKAGE = __name__.partition(".")[0]


def defining_scope(defined: Any) -> dict[str, Any]:
    """The local variables of the function in which a class or function was defined, while that function still runs.

    A string annotation (`from __future__ import annotations`) may name a class that exists only there.
    """
    scope, local, _ = getattr(defined, "__qualname__", "").rpartition(".<locals>.")
    if not local:
        return {}
    for frame in _frames():
        if frame.f_code.co_qualname == scope and frame.f_globals.get("__name__") == defined.__module__:
            return dict(frame.f_locals)
    return {}


def depth_of_caller() -> int:
    """The `stacklevel` of a warning that points to the user's line."""
    for depth, frame in enumerate(_frames()):
        if frame.f_globals.get("__name__", "").partition(".")[0] != _PACKAGE:
            return depth
    return 1


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
