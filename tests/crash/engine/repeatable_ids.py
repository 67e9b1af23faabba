"""Two runs of one graph that can be compared byte by byte: each thread begins in the same incarnation."""

import pytest

from durable_graph._runtime.commit import thread
from durable_graph.checkpointing import rules


def draw_the_same(patch: pytest.MonkeyPatch) -> None:
    """What is drawn when a thread begins, or is copied, is the same in every run."""
    patch.setattr(rules, "drawn_incarnation", lambda: 77)
    patch.setattr(thread, "drawn_incarnation", lambda: 77)
