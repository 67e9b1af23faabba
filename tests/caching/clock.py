"""A clock that tests advance."""

import time

import pytest


class Clock:
    """The time of day, as caches read it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = time.time
        self._ahead = 0.0
        monkeypatch.setattr(time, "time", lambda: self._real() + self._ahead)

    def pass_by(self, seconds: float) -> None:
        self._ahead += seconds
