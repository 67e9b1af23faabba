"""Repeatable ids: each thread has the same incarnation, so that two runs of a graph can be compared byte by byte."""

import pytest

from durable_graph._runtime.commit import thread
from durable_graph.checkpointing import rules


def make_ids_repeatable(patch: pytest.MonkeyPatch) -> None:
    """Use the same incarnation for every thread that is started or copied."""
    patch.setattr(rules, "drawn_incarnation", lambda: 77)
    patch.setattr(thread, "drawn_incarnation", lambda: 77)
