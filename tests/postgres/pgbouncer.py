"""PostgresSaver behind pgbouncer, which lends a connection for one transaction: `make pgbouncer`.

`make test` does not run these tests: they need the program from the system's packages.
"""

import asyncio
import logging
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from durable_graph import Checkpointer, StoreConfigurationError
from durable_graph.testing.conformance.notifiers import listening
from durable_graph.testing.conformance.saver_under_test import commit, some_thread
from durable_graph.testing.rows import Step
from durable_graph_postgres import PostgresSaver, notice_listener
from tests.postgres.server import free_port
from tests.postgres.test_conformance import TestPostgresSaver as OnPostgres
from tests.postgres.test_notifier import READY, reaches
from tests.postgres.test_round_trips import chain
from tests.postgres.test_silence import stopped
from tests.runs.engine.processes import until
from tests.savers import schema_of_its_own

_CONFIG = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
unix_socket_dir =
"""


@pytest.fixture(scope="session")
def pooled(postgres: str) -> Iterator[str]:
    """The DSN of a pgbouncer with three connections for all its clients."""
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    server, own = urlsplit(postgres), free_port()
    folder = Path(tempfile.mkdtemp(prefix="durable-graph-pgbouncer-"))
    folder.chmod(0o755)
    config = folder / "pgbouncer.ini"
    # pgbouncer uses this user name, whatever name a client gives.
    forced = _CONFIG.replace("port={port}", f"port={{port}} user={server.username}")
    config.write_text(forced.format(host=server.hostname, port=server.port, own=own))
    command = [program, "-q", "-u", "nobody", str(config)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", own)).close()
                break
            except ConnectionRefusedError:
                assert process.poll() is None, "pgbouncer has ended"
        yield server._replace(netloc=f"{server.username}@127.0.0.1:{own}").geturl()
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


class TestPooled(OnPostgres):
    @pytest.fixture(autouse=True)
    def _through_the_pooler(self, pooled: str) -> None:
        self.pooled = pooled

    async def open(self) -> Checkpointer:
        opened = await super().open()
        await opened.aclose()
        return PostgresSaver(self.pooled, schema=self.schema, prepared_statements=False)


async def test_many_runs_of_several_savers_share_three_connections(postgres: str, pooled: str) -> None:
    async with schema_of_its_own(postgres) as schema:
        savers = [PostgresSaver(pooled, schema=schema, prepared_statements=False) for _ in range(6)]
        graphs = [chain(10).compile(saver) for saver in savers]

        results = await asyncio.gather(
            *(graph.ainvoke({"log": []}, thread_id=f"{of}-{n}") for of, graph in enumerate(graphs) for n in range(30))
        )

        assert results == [{"log": [f"n{number}" for number in range(10)]}] * 180
        threads = [info.thread for info in await savers[0].list_threads(status="done", limit=1000)]
        assert len(threads) == 180
        for saver in savers:
            await saver.aclose()


async def test_a_saver_on_a_pool_of_the_user_works_behind_pgbouncer(postgres: str, pooled: str) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        asyncpg.create_pool(pooled, statement_cache_size=0, min_size=1) as pool,
        PostgresSaver(pool, schema=schema) as saver,
    ):
        result = await chain(5).compile(saver).ainvoke({"log": []}, thread_id="t")

        assert result == {"log": [f"n{number}" for number in range(5)]}


async def test_a_stopped_process_behind_pgbouncer_does_not_block_other_writers_of_its_thread(
    postgres: str, pooled: str
) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        writer = await some_thread(saver)
        with stopped(pooled, schema, "a DSN of a pooler", "delete") as process:
            async with asyncio.timeout(20):
                await commit(saver, writer, Step({"count": b"4"}))

            process.send_signal(signal.SIGCONT)
            output, _ = await asyncio.to_thread(process.communicate)
        assert output == "True\n"
        assert [info.thread for info in await saver.list_threads()] == []


async def test_the_error_of_a_saver_with_prepared_statements_behind_pgbouncer_names_the_option(
    postgres: str, pooled: str
) -> None:
    async with schema_of_its_own(postgres) as schema:
        with pytest.raises(StoreConfigurationError, match="prepared_statements=False"):
            await PostgresSaver(pooled, schema=schema).load("t")


async def test_a_process_behind_pgbouncer_receives_no_notices_and_its_own_notices_arrive(
    postgres: str, pooled: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notice_listener, "_LONGEST_PROBE", 0.5)
    caplog.set_level(logging.INFO, "durable_graph")
    async with (
        schema_of_its_own(postgres) as schema,
        asyncpg.create_pool(pooled, statement_cache_size=0, min_size=1) as pool,
        PostgresSaver(pool, schema=schema) as saver,
        PostgresSaver(pooled, schema=schema, prepared_statements=False) as other,
        PostgresSaver(postgres, schema=schema) as direct,
    ):
        with listening(saver, READY) as heard_behind, listening(other, READY), listening(direct, READY) as heard:
            await until(lambda: "polls the store" in caplog.text, "the result of the probe")
            for each in (saver, other):
                await reaches(each, heard)
            heard_behind.notices.clear()
            await reaches(direct, heard)
            assert heard_behind.notices == []
        # The setting of a transaction that notified is not that of the next client.
        async with pool.acquire() as connection:
            for _ in range(10):
                assert await connection.fetchval("SHOW synchronous_commit") == "on"
