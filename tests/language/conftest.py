"""Savers and durability modes: every part of the language has to mean the same on each."""

import pytest

from durable_graph._runtime.request.run import Durability


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request: pytest.FixtureRequest) -> Durability:
    """Each durability mode."""
    mode: Durability = request.param
    return mode
