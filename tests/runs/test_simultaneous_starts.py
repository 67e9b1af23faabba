"""Two processes that start runs with the same keys at the same time."""

import json
from multiprocessing.synchronize import Barrier

from durable_graph.runs import App
from tests.runs.engine.processes import Processes, all_runs
from tests.runs.engine.worker_process import Place, app_at, live, note_outcome

STARTS = 50


def start_runs(place: Place, barrier: Barrier, name: str) -> None:
    """Start a run for each key, and write the runs' ids to a file of this name."""
    live(place, _start_runs(place, barrier, name))


async def _start_runs(place: Place, barrier: Barrier, name: str) -> None:
    found: list[tuple[str, bool]] = []
    async with app_at(place) as app:
        for number in range(STARTS):
            barrier.wait(30)
            handle = await app.start("chain", {"seconds": number}, key=f"order-{number}")
            found.append((handle.run_id, handle.is_new))
    note_outcome(place, name, json.dumps(found))


async def test_a_key_that_two_processes_use_at_once_starts_one_run(
    app: App, processes: Processes, place: Place
) -> None:
    barrier = processes.barrier(2)
    names = ["a", "b"]
    started = [processes.start(start_runs, place, barrier, name) for name in names]
    assert [await each.ended() for each in started] == [0, 0]

    first, second = (json.loads((place.folder / name).read_text()) for name in names)
    assert [id_ for id_, _ in first] == [id_ for id_, _ in second]
    assert [is_new + is_new_there for (_, is_new), (_, is_new_there) in zip(first, second, strict=True)] == [1] * STARTS
    assert {each.run_id for each in await all_runs(app)} == {id_ for id_, _ in first}
    assert len(await all_runs(app)) == STARTS
