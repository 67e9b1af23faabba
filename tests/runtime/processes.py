"""Simulates another process: one that does not see the claims of this process on its threads."""

from collections.abc import Iterator
from contextlib import contextmanager

from durable_graph import Checkpointer
from durable_graph._runtime.commit import busy


@contextmanager
def as_another_process(saver: Checkpointer) -> Iterator[None]:
    """Inside the body, runs on this saver do not see those outside it. The store sees them all."""
    turns = busy._claims[saver]
    held = dict(turns)
    turns.clear()
    yield
    turns.update(held)
