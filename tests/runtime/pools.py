"""Process pools for tests: their processes start quickly, because a server that has loaded the library forks them."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import ForkServerContext

_context = multiprocessing.get_context("forkserver")
# A new process also imports the main module of its parent, which is that of pytest. A process of pytest has one server
# for all its tests: the last module is what tests/runs/engine/processes.py needs.
_context.set_forkserver_preload(["pytest", "durable_graph._runtime.task.executed", "tests.runs.engine.worker_process"])


def context() -> ForkServerContext:
    """The context of the pools of tests."""
    return _context


class Pools:
    """A factory of pools that counts them, and shuts them down in the end."""

    def __init__(self, processes: int = 1) -> None:
        self.made: list[ProcessPoolExecutor] = []
        self._processes = processes

    def __call__(self) -> ProcessPoolExecutor:
        self.made.append(ProcessPoolExecutor(self._processes, mp_context=_context))
        return self.made[-1]

    def shutdown(self) -> None:
        for pool in self.made:
            pool.shutdown()
