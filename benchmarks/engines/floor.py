"""The floor: the least that a durable engine does. It commits what durable_graph commits, and checks nothing."""

import asyncio

from benchmarks.engines.log import Durability, Log, Store
from benchmarks.engines.program import Program, State, Task, copied


class Floor:
    """Supersteps over a dict. A lone node is awaited in place, several run in a task group."""

    def __init__(self, program: Program, store: Store | None = None, durability: Durability = "sync") -> None:
        self._program = program
        self._store = store
        self._durability = durability

    async def run(self, thread: str, given: State) -> State:
        nodes, plan, appended = self._program.nodes, self._program.plan, self._program.appended
        log = None if self._store is None else Log(self._store, thread, self._durability)
        state = copied(given)
        if log is not None:
            await log.begin(state)
        tasks = plan((), state)
        superstep = 0
        while tasks:
            superstep += 1
            if len(tasks) == 1:
                ((node, argument),) = tasks
                writes = [await nodes[node](state if argument is None else argument)]
            else:
                async with asyncio.TaskGroup() as group:
                    running = [
                        group.create_task(self._one(log, superstep, place, task, state))
                        for place, task in enumerate(tasks)
                    ]
                writes = [task.result() for task in running]
            for written in writes:
                for name, value in written.items():
                    if name in appended:
                        state[name].extend(value)
                    else:
                        state[name] = value
            tasks = plan(tasks, state)
            if log is not None:
                await log.commit(superstep, tasks, writes[0] if len(writes) == 1 else None, state)
        if log is not None:
            await log.end(superstep, state)
        return state

    async def _one(self, log: Log | None, superstep: int, place: int, task: Task, state: State) -> State:
        writes = await self._program.nodes[task.node](state if task.argument is None else task.argument)
        if log is not None:
            log.record(superstep, place, writes)
        return writes
