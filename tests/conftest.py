"""What holds in every test: the library never blocks the event loop, and generated examples are the same everywhere."""

import os
from collections.abc import Iterator

import pytest
from blockbuster import blockbuster_ctx
from hypothesis import settings

# Every graph of every test is checked for nodes that change their input in place.
os.environ.setdefault("DURABLE_GRAPH_DEBUG", "1")

# A red run is about the change that was made, never about luck: the same examples on every machine. `make crash` and
# HYPOTHESIS_PROFILE=explore look for new ones.

settings.register_profile("everywhere", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, derandomize=False, print_blob=True, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "everywhere"))


@pytest.fixture(autouse=True)
def nothing_blocks_the_event_loop() -> Iterator[None]:
    """A blocking call in a running event loop raises, if the library is anywhere in its stack.

    What a test does in its own body is its own business, and so is what the suite for savers does, which damages files
    between two calls. A node that blocks is called by the library, and counts.
    """
    with blockbuster_ctx(
        ["durable_graph", "durable_graph_sqlite"], excluded_modules=["durable_graph.testing.conformance"]
    ):
        yield
