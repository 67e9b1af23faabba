"""What do notices cost the commits of PostgreSQL: none, beside the commits, or inside of them?"""

import asyncio
import time
from typing import Any, Literal

import asyncpg

from durable_graph.checkpointing.notices import RunChanged
from durable_graph_postgres.notice_sender import NoticeSender

How = Literal["none", "beside", "inside"]
HOWS: tuple[How, ...] = ("none", "beside", "inside")
WRITERS = 8

_INSERT = "INSERT INTO written (writer, number) VALUES ($1, $2)"
_INSERT_AND_NOTIFY = "WITH added AS (INSERT INTO written (writer, number) VALUES ($1, $2)) SELECT pg_notify('c', $3)"


async def commits_per_second(dsn: str, how: How, seconds: float) -> float:
    """The commits of 8 writers, of one row each, while one session listens."""
    connections = [await asyncpg.connect(dsn) for _ in range(WRITERS + 1)]
    *writers, listening = connections
    await listening.execute("CREATE TABLE IF NOT EXISTS written (writer integer, number integer)")
    await listening.add_listener("c", lambda *_: None)
    sender = NoticeSender("c", "sender", lambda: asyncpg.connect(dsn), 5.0)
    try:
        began = time.perf_counter()
        counts = await asyncio.gather(
            *(_write(writer, number, sender, how, began + seconds) for number, writer in enumerate(writers))
        )
        return sum(counts) / (time.perf_counter() - began)
    finally:
        await sender.close()
        for connection in connections:
            await connection.close()


async def _write(writer: Any, name: int, sender: NoticeSender, how: How, end: float) -> int:
    number = 0
    while time.perf_counter() < end:
        number += 1
        if how == "inside":
            await writer.fetch(_INSERT_AND_NOTIFY, name, number, f"{name} {number}")
        else:
            await writer.fetch(_INSERT, name, number)
        if how == "beside":
            sender.send([RunChanged(name, number)])
    return number
