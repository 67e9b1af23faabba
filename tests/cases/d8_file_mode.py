"""The SQLite file is created readable for everyone."""

import os
from typing import TypedDict

from tests.cases._case import one_node, run


class State(TypedDict, total=False):
    n: int


async def case(store):
    os.umask(0o022)
    async with store.saver() as saver:
        await one_node(State, lambda s: {"n": 1}).compile(saver).ainvoke({}, thread_id="t")
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in sorted(store.path.parent.iterdir())}
    return "0o600", modes, set(modes.values()) == {"0o600"}


run(case, kinds=("sqlite",))
