"""Savers to run on. Whatever a graph does has to be the same on each."""

import pytest


@pytest.fixture(params=["sync", "async", "exit"])
def durability(request: pytest.FixtureRequest) -> str:
    """Each durability mode."""
    return str(request.param)
