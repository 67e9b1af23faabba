"""A process that dies before, inside or after any store call: the next process resumes from exactly that point."""

from collections.abc import Callable

import pytest

from durable_graph import Durability
from tests.crash.conftest import IS_LONG, MODES, Echo, in_modes, name_of
from tests.crash.engine.crash_points import one_crash, two_crashes
from tests.crash.engine.stores import CrashStore, InMemory
from tests.crash.scenarios.graph_shapes import SHAPES, Shape


@pytest.mark.parametrize(("shape", "mode"), in_modes(SHAPES), ids=name_of)
async def test_a_run_resumed_after_a_crash_ends_like_an_undisturbed_run(
    shape: Shape, store: Callable[[], CrashStore], mode: Durability, echo: Echo
) -> None:
    tried = [each async for each in one_crash(shape, store, mode)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) >= 3 * 3
    echo(f"{shape.name}, {mode}: {len(tried)} crashes, 0 violations")


@pytest.mark.parametrize("mode", MODES if IS_LONG else ["sync"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
async def test_a_run_resumed_after_a_second_crash_ends_like_an_undisturbed_run(
    shape: Shape, mode: Durability, echo: Echo
) -> None:
    tried = [each async for each in two_crashes(shape, InMemory, mode)]

    assert [each for each in tried if each[1]] == []
    assert len(tried) > 30
    echo(f"{shape.name}, {mode}: {len(tried)} pairs of crashes, 0 violations")
