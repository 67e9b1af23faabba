"""The only table of the allowed cost of a superstep.

`today` is the measured figure. The test fails if a figure is more than 1 % above it, and also if it is more than 2 %
below it: a commit that makes the path shorter tightens its budget, and a commit that raises a figure says why. `target`
is the figure that the path should reach.

"rows" are the rows that are inserted, updated or deleted. "WAL bytes" is the growth of the database's log: whole pages
with SQLite, records without images of pages with PostgreSQL.

The figures are valid for Python PYTHON. Other versions make other calls, and are not tested.
"""

from typing import NamedTuple

PYTHON = (3, 11)


class Budget(NamedTuple):
    today: float
    target: float | None = None


BUDGETS: dict[str, dict[str, dict[str, Budget]]] = {
    # One `ainvoke` of two nodes, on a store that was used before.
    "two nodes": {
        "modules": {"none": Budget(40, 15), "memory": Budget(65, 25), "sqlite": Budget(73, 32), "postgres": Budget(76)},
        "functions": {
            "none": Budget(117, 70),
            "memory": Budget(232, 120),
            "sqlite": Budget(282, 150),
            "postgres": Budget(285),
        },
        "jumps": {"none": Budget(137), "memory": Budget(295, 120), "sqlite": Budget(410), "postgres": Budget(422)},
    },
    # A superstep of a chain.
    "chain": {
        "calls": {
            "none": Budget(77, 60),
            "memory": Budget(151, 90),
            "sqlite": Budget(184, 130),
            "postgres": Budget(259, 200),
        },
        "tasks": {"none": Budget(1, 1), "memory": Budget(1, 1), "sqlite": Budget(1, 1), "postgres": Budget(2, 1)},
        "iterations": {"none": Budget(2, 2), "memory": Budget(2, 2), "sqlite": Budget(4, 4), "postgres": Budget(6, 6)},
        "encodes": {"none": Budget(0), "memory": Budget(3), "sqlite": Budget(3), "postgres": Budget(4)},
        "digests": {"none": Budget(0), "memory": Budget(2), "sqlite": Budget(2), "postgres": Budget(3)},
        "statements": {"sqlite": Budget(5, 5), "postgres": Budget(1, 1)},
        "round trips": {"postgres": Budget(1, 1)},
        "rows": {"sqlite": Budget(3), "postgres": Budget(3)},
        "WAL bytes": {"sqlite": Budget(15408.8, 15_000), "postgres": Budget(843.4, 811)},
    },
    # A superstep whose router repeats its node.
    "router": {
        "calls": {"none": Budget(101), "memory": Budget(175), "sqlite": Budget(208), "postgres": Budget(283)},
        "tasks": {"none": Budget(1), "memory": Budget(1), "sqlite": Budget(1), "postgres": Budget(2)},
        "iterations": {"none": Budget(2), "memory": Budget(2), "sqlite": Budget(4), "postgres": Budget(6)},
        "encodes": {"none": Budget(0), "memory": Budget(3), "sqlite": Budget(3), "postgres": Budget(4)},
        "digests": {"none": Budget(0), "memory": Budget(2), "sqlite": Budget(2), "postgres": Budget(3)},
        "statements": {"sqlite": Budget(5), "postgres": Budget(1)},
        "round trips": {"postgres": Budget(1)},
        "rows": {"sqlite": Budget(3), "postgres": Budget(3)},
        "WAL bytes": {"sqlite": Budget(15656), "postgres": Budget(922.5)},
    },
    # A task of a superstep of many tasks.
    "fan-out task": {
        "calls": {"none": Budget(54, 45), "memory": Budget(84), "sqlite": Budget(79, 75), "postgres": Budget(98)},
        "tasks": {"none": Budget(1), "memory": Budget(1), "sqlite": Budget(1), "postgres": Budget(1)},
        "iterations": {"none": Budget(0), "memory": Budget(0), "sqlite": Budget(0), "postgres": Budget(0)},
        "encodes": {"none": Budget(0), "memory": Budget(3), "sqlite": Budget(3), "postgres": Budget(3)},
        "digests": {"none": Budget(0), "memory": Budget(1), "sqlite": Budget(1), "postgres": Budget(1)},
        "statements": {"sqlite": Budget(1), "postgres": Budget(0)},
        "round trips": {"postgres": Budget(0)},
        "rows": {"sqlite": Budget(1), "postgres": Budget(1)},
        "WAL bytes": {"sqlite": Budget(164.8), "postgres": Budget(353.4)},
    },
    # A call of a `@task` in a node.
    "@task": {
        "calls": {"none": Budget(212), "memory": Budget(287), "sqlite": Budget(298), "postgres": Budget(650)},
        "tasks": {"none": Budget(1), "memory": Budget(1), "sqlite": Budget(1), "postgres": Budget(2)},
        "iterations": {"none": Budget(5), "memory": Budget(5), "sqlite": Budget(7), "postgres": Budget(9)},
        "encodes": {"none": Budget(0), "memory": Budget(2), "sqlite": Budget(2), "postgres": Budget(3)},
        "digests": {"none": Budget(4), "memory": Budget(6), "sqlite": Budget(5), "postgres": Budget(7)},
        "statements": {"sqlite": Budget(4), "postgres": Budget(1)},
        "round trips": {"postgres": Budget(1)},
        "rows": {"sqlite": Budget(2), "postgres": Budget(2)},
        "WAL bytes": {"sqlite": Budget(15573.6), "postgres": Budget(793.6)},
    },
}

LIBRARY: dict[str, Budget] = {
    # Modules that `import durable_graph` loads after asyncio, anyio and msgspec.
    "imported modules": Budget(280),
    # Coroutines of the library between a call of `ainvoke` on a store and a node: each suspension resumes all of them.
    "coroutines above a node": Budget(8, 8),
    # In `_runtime`: asserts that a type could replace, and annotations without information per 1,000 lines.
    "assert ... is not None": Budget(0, 0),
    "Any per 1,000 lines": Budget(9.8, 10),
}
