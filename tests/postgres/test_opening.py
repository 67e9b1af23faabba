"""Opening a saver: errors are clear, come at once if waiting does not help, and never show a password."""

import asyncio
import random
import string
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypedDict

import asyncpg
import msgspec
import pytest

from durable_graph import START, Checkpointer, DurableGraphError, StateGraph
from durable_graph.errors import (
    CheckpointerMisuseError,
    GraphValidationError,
    InvalidOptionError,
    StoreConfigurationError,
    StoreFormatError,
    StoreUnavailableError,
)
from durable_graph.records import CommitUnit, RequestRow
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, Writer, state_of
from durable_graph_postgres import PostgresSaver
from durable_graph_postgres.failures import is_passing
from durable_graph_postgres.statements import FORMAT, quoted
from tests.errors.kinds import of_kind
from tests.postgres.fleet import named, watching
from tests.postgres.server import started
from tests.savers import dropped, schema_of_its_own

HIDDEN = "s3cr3t"
PROMPT = 10.0
"""In seconds. A saver waits a minute for an unavailable server."""


async def refused(saver: PostgresSaver, error: type[DurableGraphError], kind: str | None = None) -> str:
    """The text of the error at the first call of a saver, which must come promptly. The saver can still be closed."""
    begun = time.monotonic()
    with pytest.raises(error, check=of_kind(kind)) as caught:
        await saver.load("t")
    assert time.monotonic() - begun < PROMPT
    await saver.aclose()
    assert HIDDEN not in "".join(str(each) for each in chain_of(caught.value))
    return str(caught.value)


def chain_of(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *chain_of(error.__cause__ or error.__context__)]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("postgres@127.0.0.1", "postgres:{}@no-such-host.invalid", "Name or service not known"),
        ("/postgres", "/no_such_database", 'database "no_such_database" does not exist'),
        ("postgres@", "no_such_user:{}@", 'role "no_such_user" does not exist'),
        ("/postgres", "/postgres?sslmode=require", "rejected SSL"),
        ("/postgres", "/postgres?sslmode=sometimes", "sslmode"),
        ("/postgres", "/postgres?password={}&no_such_option=3", "no_such_option"),
    ],
)
async def test_an_error_that_waiting_cannot_fix_is_reported_at_once(
    postgres: str, old: str, new: str, said: str
) -> None:
    head, found, tail = postgres.rpartition(old)
    assert found
    assert said in await refused(PostgresSaver(head + new.format(HIDDEN) + tail), StoreConfigurationError, "settings")


@pytest.mark.parametrize(
    "dsn",
    [
        "",
        HIDDEN,
        f"host=localhost password={HIDDEN}",
        f"mysql://user:{HIDDEN}@host/name",
        f"postgresql://user:{HIDDEN}/x@host/name",
        f"postgresql://user:{HIDDEN}#x@host/name",
        f"postgresql://user:{HIDDEN}@x@host/name",
        f"postgresql://user:{HIDDEN}[@host/name",
        f"postgresql://user:12/{HIDDEN}@host/name",
        f"postgresql://user:{HIDDEN}@host:99999/name",
        f"postgresql://user:{HIDDEN}@host:port/name",
        f"postgresql://host/name?{HIDDEN}",
    ],
)
def test_an_invalid_dsn_is_refused_without_repeating_it(dsn: str) -> None:
    with pytest.raises(InvalidOptionError) as caught:
        PostgresSaver(dsn)
    assert HIDDEN not in str(caught.value)
    # Python's own error might repeat the DSN.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_a_dsn_may_name_several_hosts(postgres: str) -> None:
    head, _, tail = postgres.partition("@")
    host, _, path = tail.partition("/")
    several = f"{head}@127.0.0.1:1,{host}/{path}?target_session_attrs=read-write"
    async with schema_of_its_own(postgres) as schema, PostgresSaver(several, schema=schema) as saver:
        await some_thread(saver)


@pytest.mark.parametrize(
    "schema",
    ['"', "Has Upper", "x'; DROP TABLE y; --", "{schema}", "$1", "select", "schöma 日本", "%s %(a)s", "a" * 63],
)
async def test_a_schema_may_have_any_name(postgres: str, schema: str) -> None:
    try:
        for _ in range(2):
            async with PostgresSaver(postgres, schema=schema) as saver:
                writer = Writer.of(f"thread {_}")
                await commit(saver, writer, Step({"count": b"1"}))
                assert (await loaded(saver, writer.thread.thread)).thread == writer.thread
    finally:
        await dropped(postgres, quoted(schema)[1:-1])


@pytest.mark.parametrize("schema", ["", "a\0b", "a" * 64, "ö" * 32, "\ud800"])
def test_an_invalid_schema_name_is_refused(schema: str) -> None:
    with pytest.raises(InvalidOptionError):
        PostgresSaver("postgresql://host/name", schema=schema)


async def test_a_newer_format_is_left_alone(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema:
        async with PostgresSaver(postgres, schema=schema) as saver:
            await some_thread(saver)
        path = {"search_path": quoted(schema)}
        async with asyncpg.create_pool(postgres, min_size=0, server_settings=path) as pool:
            await pool.execute("UPDATE format SET version = 99")
            assert "99" in await refused(PostgresSaver(postgres, schema=schema), StoreFormatError)
            assert await pool.fetchval("SELECT version FROM format") == 99
            await pool.execute("UPDATE format SET version = 1")
            assert "no conversion" in await refused(PostgresSaver(postgres, schema=schema), StoreFormatError)
            await pool.execute("UPDATE format SET version = $1", FORMAT)
        async with PostgresSaver(postgres, schema=schema) as saver:
            assert (await loaded(saver, "thread")).thread.version == 3


async def test_a_read_replica_is_refused_until_it_is_promoted() -> None:
    with started() as server:
        async with PostgresSaver(server.url) as saver:
            writer = await some_thread(saver, "t")
            await asyncio.to_thread(server.restart_as_replica)
            assert "replica" in await refused(PostgresSaver(server.url), StoreUnavailableError, "read_only")
            # A saver that was open treats this as a failover, and waits.
            async with asyncio.TaskGroup() as group:
                group.create_task(commit(saver, writer, Step({"count": b"4"})))
                assert state_of(await loaded(saver, "t"))["count"] == b"3"
                async with asyncpg.create_pool(server.url, min_size=0) as pool:
                    await pool.execute("SELECT pg_promote()")
            assert state_of(await loaded(saver, "t"))["count"] == b"4"

            await asyncio.to_thread(server.restart_as_replica)
            impatient = PostgresSaver(server.url, patience=0.1)
            await refused(impatient, StoreUnavailableError, "read_only")


async def test_a_commit_of_a_read_only_role_is_an_error(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, asyncpg.create_pool(postgres, min_size=0) as pool:
        async with PostgresSaver(postgres, schema=schema) as saver:
            await some_thread(saver)
        role = f"reader {schema}"
        await pool.execute(
            f'CREATE ROLE "{role}" LOGIN; GRANT USAGE ON SCHEMA "{schema}" TO "{role}";'
            f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO "{role}"'
        )
        try:
            async with asyncpg.create_pool(postgres, min_size=0, user=role) as theirs:
                reader = PostgresSaver(theirs, schema=schema)
                found = await loaded(reader, "thread")
                with pytest.raises(
                    StoreUnavailableError,
                    check=of_kind("read_only"),
                    match="GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES",
                ):
                    await reader.commit(Writer(found.thread).unit(Step({"count": b"4"})))
                with pytest.raises(StoreConfigurationError, match="GRANT CREATE ON DATABASE"):
                    await PostgresSaver(theirs, schema="not there").load("t")
        finally:
            await pool.execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


async def test_a_pool_of_the_user_stays_open(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, asyncpg.create_pool(postgres, min_size=0, max_size=2) as pool:
        async with PostgresSaver(pool, schema=schema) as saver:
            await some_thread(saver)
        assert pool.get_idle_size() == pool.get_size()
        assert await pool.fetchval("SELECT 1") == 1
        async with PostgresSaver(pool, schema=schema) as again:
            assert (await loaded(again, "thread")).thread.version == 3


async def test_a_pool_of_another_event_loop_is_refused_and_a_new_pool_works(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema:

        async def use(given: list[Any]) -> None:
            async with asyncpg.create_pool(postgres, min_size=0) as pool:
                given.append(PostgresSaver(pool, schema=schema))
                await some_thread(given[-1], f"t {len(given)}")

        def loop_after_loop() -> None:
            given: list[Any] = []
            asyncio.run(use(given))
            with pytest.raises(InvalidOptionError, match="create the pool and the saver in the loop that uses them"):
                asyncio.run(given[0].load("t 1"))
            asyncio.run(use(given))

        await asyncio.to_thread(loop_after_loop)


async def test_calls_wait_for_a_pool_without_free_connections(postgres: str) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        asyncpg.create_pool(postgres, min_size=0, max_size=1) as pool,
        PostgresSaver(pool, schema=schema) as saver,
    ):
        async with asyncio.TaskGroup() as group, pool.acquire():
            calls = [group.create_task(saver.load("t")), group.create_task(saver.list_threads())]
            committing = group.create_task(commit(saver, Writer.of("t"), Step({"count": b"1"})))
            await asyncio.sleep(0)
            assert not any(call.done() for call in (*calls, committing))
        assert state_of(await loaded(saver, "t")) == {"count": b"1"}


async def test_opening_waits_for_a_server_without_free_connections() -> None:
    settings = {"max_connections": "3", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    with started(settings=settings) as server:
        taken = [await asyncpg.connect(server.url) for _ in range(3)]
        async with asyncio.TaskGroup() as group:
            opening = group.create_task(PostgresSaver(server.url, pool_size=2).load("t"))
            impatient = PostgresSaver(server.url, patience=0.05)
            assert "too many clients" in await refused(impatient, StoreUnavailableError, "unreachable")
            assert not opening.done()
            for connection in taken:
                await connection.close()
        assert opening.result() is None


async def test_a_saver_opens_no_more_connections_than_its_pool_size(postgres: str) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        watching(postgres, schema) as watch,
        PostgresSaver(named(postgres, schema), schema=schema, pool_size=3) as saver,
    ):
        await asyncio.gather(
            *(some_thread(saver, f"t {number}") for number in range(20)),
            *(saver.history(f"t {number}", limit=1) for number in range(20)),
        )
        assert 0 < len(await watch.sessions()) <= 3


async def test_a_commit_survives_lock_and_statement_timeouts_of_the_server() -> None:
    settings = {"lock_timeout": "10ms", "statement_timeout": "100ms"}
    with started(settings=settings) as server:
        async with PostgresSaver(server.url) as saver, asyncpg.create_pool(server.url, min_size=0) as pool:
            writer = await some_thread(saver, "t")
            for number in range(3):
                async with asyncio.TaskGroup() as group:
                    locked = asyncio.Event()
                    group.create_task(hold_all_rows(pool, locked))
                    await locked.wait()
                    group.create_task(commit(saver, writer, Step({"count": b"%d" % number})))
            assert state_of(await loaded(saver, "t"))["count"] == b"2"
        assert "lock timeout" in server.log
        assert "statement timeout" in server.log


async def hold_all_rows(pool: "asyncpg.Pool[asyncpg.Record]", locked: asyncio.Event) -> None:
    """Lock all rows until the server ends the statement."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM durable_graph.threads FOR UPDATE")
        locked.set()
        with pytest.raises(asyncpg.QueryCanceledError):
            await connection.execute("SELECT pg_sleep(60)")


@pytest.mark.parametrize(
    "passes", [asyncpg.IdleInTransactionSessionTimeoutError, asyncpg.QueryCanceledError, asyncpg.AdminShutdownError]
)
def test_the_end_of_a_session_by_server_settings_is_a_passing_error(passes: type[Exception]) -> None:
    assert is_passing(passes("of the server"))


NAMES = [("a\0b", "NUL"), ("\ud800x", "surrogate")]


def with_request(thread: str, key: str) -> CommitUnit:
    """A commit with a request that has a key."""
    unit = Writer.of(thread).unit(Step({"count": b"1"}))
    return msgspec.structs.replace(unit, request=RequestRow(key, b"", 0, unit.version, 0, b""))


CALLS: list[Callable[[Checkpointer, str], Awaitable[object]]] = [
    lambda saver, name: saver.load(name),
    lambda saver, name: saver.load("t", name),
    lambda saver, name: saver.commit(Writer.of(name).unit(Step())),
    lambda saver, name: saver.commit(Writer.of("t").unit(Step({name: b"1"}))),
    lambda saver, name: saver.commit(Writer.of("t").unit(Step(), Step({"count": b"1"}, ns=name))),
    lambda saver, name: saver.load_records(name, ""),
    lambda saver, name: saver.load_records("t", name),
    lambda saver, name: saver.find_request(name, "key"),
    lambda saver, name: saver.find_request("t", name),
    lambda saver, name: saver.commit(with_request("t", name)),
    lambda saver, name: saver.history(name, limit=1),
    lambda saver, name: saver.history("t", name, limit=1),
    lambda saver, name: saver.delete_thread(name),
    lambda saver, name: saver.copy_thread(name, "t"),
    lambda saver, name: saver.copy_thread("t", name),
    lambda saver, name: saver.prune(name),
]


@pytest.mark.parametrize(("name", "why"), NAMES)
async def test_names_that_postgres_cannot_store_are_refused_by_name(postgres: str, name: str, why: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        for call in CALLS:
            with pytest.raises(InvalidOptionError, check=of_kind("unstorable"), match=why) as caught:
                await call(saver, name)
            assert (caught.value.value, repr(name) in str(caught.value)) == (name, True)
        assert await saver.list_threads() == []

        ran: list[str] = []
        # mypy does not accept a key that is no identifier.
        schema_of_state: Any = TypedDict

        async def run() -> None:
            builder = StateGraph(schema_of_state("State", {name: int}))
            builder.add_node("node", lambda state: ran.append("node")).add_edge(START, "node")
            await builder.compile(saver).ainvoke({name: 1}, thread_id="t")

        # A name that no store can hold is refused as a key of a state. This store refuses the others.
        with pytest.raises((InvalidOptionError, GraphValidationError), match=why):
            await run()
        assert ran == []


async def test_a_listing_after_a_name_that_postgres_cannot_store_is_refused(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        with pytest.raises(InvalidOptionError, check=of_kind("unstorable"), match="NUL"):
            await saver.list_threads(after="a\0b")
        # All savers refuse a name that no store can hold.
        with pytest.raises(InvalidOptionError, match="surrogate"):
            await saver.list_threads(after="\ud800x")


LONG = "".join(random.Random(20_26).choices(string.ascii_letters, k=3000))

WRITES: list[tuple[str, Callable[[Checkpointer], Awaitable[object]]]] = [
    ("thread id", lambda saver: saver.commit(Writer.of(LONG).unit(Step()))),
    ("channel", lambda saver: saver.commit(Writer.of("t").unit(Step({LONG: b"1"})))),
    ("namespace", lambda saver: saver.commit(Writer.of("t").unit(Step(), Step({"count": b"1"}, ns=LONG)))),
    ("thread id", lambda saver: saver.copy_thread("there", LONG)),
]


@pytest.mark.parametrize(("what", "write"), WRITES)
async def test_a_name_that_is_too_long_for_an_index_is_refused_by_name(
    postgres: str, what: str, write: Callable[[Checkpointer], Awaitable[object]]
) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        await some_thread(saver, "there")
        with pytest.raises(InvalidOptionError, check=of_kind("unstorable"), match="too long for an index") as caught:
            await write(saver)
        assert (caught.value.option, caught.value.value) == (what, LONG)
        assert [info.thread for info in await saver.list_threads()] == ["there"]


async def test_unusual_and_long_names_are_stored(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        for name in ("\x01", "ö", "日本", "\U0001f600", "\uffff", "'\";\\", "x" * 100_000):
            writer = Writer.of(name)
            await commit(saver, writer, Step({name[:1000]: b"1"}))
            assert state_of(await loaded(saver, name)) == {name[:1000]: b"1"}


async def test_a_closed_saver_raises_saver_closed(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema:
        async with PostgresSaver(postgres, schema=schema) as saver:
            writer = await some_thread(saver, "t")
        for call in (lambda: saver.load("t"), lambda: saver.commit(writer.unit()), saver.list_threads):
            with pytest.raises(CheckpointerMisuseError, check=of_kind("closed")):
                await _made(call)
        await saver.aclose()


async def test_a_call_from_another_loop_is_refused(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        writer = await some_thread(saver, "t")
        for call in (lambda: saver.load("t"), lambda: saver.commit(writer.unit()), saver.aclose):
            with pytest.raises(CheckpointerMisuseError, check=of_kind("loop")):
                await asyncio.to_thread(asyncio.run, _made(call))
        await commit(saver, writer, Step({"count": b"4"}))


async def _made(call: Callable[[], Awaitable[object]]) -> object:
    return await call()
