"""Configuration errors are reported as such, at once and with a remedy, and never as an outage."""

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from durable_graph.errors import (
    DurableGraphError,
    InvalidOptionError,
    StoreConfigurationError,
    StoreUnavailableError,
)
from durable_graph.testing.conformance.saver_under_test import commit, loaded, some_thread
from durable_graph.testing.rows import Step, state_of
from durable_graph_postgres import PostgresSaver, admission
from durable_graph_postgres.configuration import remedy_of
from durable_graph_postgres.failures import is_passing, translated
from durable_graph_postgres.parameters import parameters_of
from durable_graph_postgres.statements import quoted
from tests.errors.kinds import of_kind
from tests.postgres.server import started
from tests.savers import schema_of_its_own

PROMPT = 10.0
"""In seconds. A saver waits a minute for an unavailable server."""


def with_parameters(dsn: str, query: str) -> str:
    return f"{dsn}{'&' if '?' in dsn else '?'}{query}"


async def error_of(saver: PostgresSaver, kind: type[DurableGraphError] = StoreConfigurationError) -> str:
    """The text of the error at the first call of a saver, which must come promptly."""
    begun = time.monotonic()
    with pytest.raises(kind) as caught:
        await saver.load("t")
    await saver.aclose()
    assert time.monotonic() - begun < PROMPT
    assert not isinstance(caught.value, StoreUnavailableError)
    assert len(str(caught.value)) <= 400
    return str(caught.value)


# Parameters of the DSN

PARAMETERS_OF_HOSTED_DATABASES = [
    "connect_timeout=15",
    "sslmode=prefer&channel_binding=prefer",
    "sslmode=disable",
    "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5&tcp_user_timeout=10000",
    "keepalives=0",
    "application_name=my-service",
    "fallback_application_name=my-service",
    "target_session_attrs=read-write",
    "options=-c%20statement_timeout%3D30s",
    "options=-c%20search_path%3Dpublic&gssencmode=disable&sslsni=1&load_balance_hosts=disable&client_encoding=UTF8",
    "statement_timeout=30000&jit=on",
    "sslmode=&sslrootcert=",
]


@pytest.mark.parametrize("query", PARAMETERS_OF_HOSTED_DATABASES)
async def test_parameters_of_libpq_are_accepted(postgres: str, query: str) -> None:
    async with (
        schema_of_its_own(postgres) as schema,
        PostgresSaver(with_parameters(postgres, query), schema=schema) as saver,
    ):
        await some_thread(saver)


@asynccontextmanager
async def session_of(dsn: str, query: str) -> AsyncIterator[Any]:
    """A connection of a saver that is opened with these parameters."""
    async with schema_of_its_own(dsn) as schema, PostgresSaver(with_parameters(dsn, query), schema=schema) as saver:
        opened = await saver._opening.get()
        async with opened.database._pool.acquire() as connection:
            yield connection


@pytest.mark.parametrize(
    ("query", "setting", "value"),
    [
        ("application_name=mine", "application_name", "mine"),
        ("fallback_application_name=mine", "application_name", "mine"),
        ("application_name=mine&fallback_application_name=other", "application_name", "mine"),
        ("options=-c%20statement_timeout%3D30s", "statement_timeout", "30s"),
        ("statement_timeout=31s", "statement_timeout", "31s"),
        ("application_name=a%20b%2Bc%26d", "application_name", "a b+c&d"),
        ("", "jit", "off"),
        ("jit=on", "jit", "on"),
    ],
)
async def test_settings_in_the_dsn_apply_to_the_session(postgres: str, query: str, setting: str, value: str) -> None:
    async with session_of(postgres, query) as connection:
        assert await connection.fetchval("SELECT current_setting($1)", setting) == value


async def test_keepalive_parameters_of_the_dsn_apply_to_the_socket(postgres: str) -> None:
    query = "keepalives_idle=31&keepalives_interval=11&keepalives_count=7&tcp_user_timeout=9000"
    async with session_of(postgres, query) as connection:
        opened = connection._con._transport.get_extra_info("socket")
        assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 31
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 11
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 7
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000


async def test_connect_timeout_bounds_one_attempt() -> None:
    # This server accepts connections, and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        dsn = f"postgresql://user@127.0.0.1:{silent.getsockname()[1]}/name?connect_timeout=1"
        saver = PostgresSaver(dsn, patience=0)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            await saver.load("t")
        # Without the parameter an attempt takes at least two seconds.
        assert time.monotonic() - begun < 1.8


@pytest.mark.parametrize(
    ("query", "remedy"),
    [
        ("channel_binding=require", "let sslmode=verify-full check"),
        ("pgbouncer=true", "give prepared_statements=False"),
        ("connection_limit=1", "give pool_size="),
        ("pool_timeout=10", "give patience="),
        ("schema=public", "give schema="),
        ("sslaccept=strict", "write sslmode="),
        ("requiressl=1", "write sslmode=require"),
        ("gssencmode=require", "remove it"),
        ("require_auth=scram-sha-256", "remove it"),
        ("client_encoding=latin1", "remove it"),
        ("replication=database", "remove it"),
        ("load_balance_hosts=random", "remove it"),
        ("sslmode=require&pgbouncer=s3cr3t", "remove it"),
        ("connect_timeout=soon", "a whole number"),
        ("keepalives_idle=1.5", "a whole number"),
    ],
)
def test_parameters_that_cannot_be_honoured_are_refused_by_name(query: str, remedy: str) -> None:
    name = query.rpartition("&")[2].partition("=")[0]
    with pytest.raises(InvalidOptionError, match=remedy) as caught:
        PostgresSaver(f"postgresql://user:s3cr3t@host/name?{query}")
    assert repr(name) in str(caught.value)
    assert "s3cr3t" not in str(caught.value)
    assert len(str(caught.value)) <= 400


@pytest.mark.parametrize(
    ("query", "said", "remedy"),
    [
        ("supa=base-pooler.x", "supa", "remove it from the DSN"),
        ("no_such_setting=1", "no_such_setting", "remove it from the DSN"),
        ("statement_timeout=soon", "statement_timeout", "correct it in the DSN"),
        ("max_connections=7", "max_connections", "remove it from the DSN"),
        ("options=-c%20no_such_setting%3D1", "no_such_setting", "remove it from the DSN"),
        ("sslmode=sometimes", "sslmode", "correct the DSN"),
        ("target_session_attrs=best", "target_session_attrs", "correct the DSN"),
        ("sslmode=require", "rejected SSL", "enable TLS on the server"),
        ("sslmode=verify-ca&sslrootcert=missing.pem", "missing.pem", "correct sslrootcert"),
        ("sslcert=missing.pem&sslkey=missing.key&sslmode=require", "missing.pem", "correct sslcert"),
    ],
)
async def test_parameters_that_the_server_or_the_driver_refuses_are_named(
    postgres: str, query: str, said: str, remedy: str
) -> None:
    text = await error_of(PostgresSaver(with_parameters(postgres, query)))
    assert said in text
    assert remedy in text


async def test_a_file_that_holds_no_certificate_is_reported_as_such(postgres: str, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text("no certificate")
    query = f"sslmode=verify-ca&sslrootcert={quote(str(tmp_path / 'root.pem'))}"
    assert "correct the files that the DSN names for TLS" in await error_of(
        PostgresSaver(with_parameters(postgres, query))
    )


def test_the_certificates_of_the_system_imply_full_verification() -> None:
    read = parameters_of("postgresql://host/name?sslmode=require&sslrootcert=system&application_name=a")
    assert (read.dsn, read.driver) == ("postgresql://host/name?application_name=a", {"ssl": True})
    assert read.files == {}


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p%2Fw@h1:1,h2:2/name?target_session_attrs=any",
        "postgresql://[::1]:5432/name",
        "postgres:///name?host=/run/postgresql",
        "postgresql://host/name?options=-c%20a%3Db&application_name=x+y",
    ],
)
def test_a_dsn_with_only_parameters_of_the_driver_is_passed_on_unchanged(dsn: str) -> None:
    assert parameters_of(dsn).dsn == dsn


def test_a_parameter_of_libpq_is_removed_from_a_dsn_without_a_host() -> None:
    read = parameters_of("postgresql:///name?host=/run/postgresql&connect_timeout=5")
    assert urlsplit(read.dsn)[1:3] == ("", "/name")
    assert read.dsn.endswith("?host=%2Frun%2Fpostgresql")
    assert read.connect_timeout == 5


# Refusals of the server


async def run(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def test_a_wrong_password_and_a_missing_role_are_reported_at_once() -> None:
    with started() as server:
        await run(server.url, "CREATE ROLE known LOGIN PASSWORD 'right'")
        server.set_authentication("scram-sha-256")
        at = f"127.0.0.1:{server.port}"
        for user in ("known:wrong", "unknown:wrong"):
            text = await error_of(PostgresSaver(f"postgresql://{user}@{at}/postgres"))
            assert "correct the user or the password in the DSN" in text
            assert "wrong" not in text
        server.set_authentication("reject")
        text = await error_of(PostgresSaver(f"postgresql://known:right@{at}/postgres"))
        assert "pg_hba.conf" in text


async def test_a_password_that_is_changed_while_the_saver_is_open_is_reported_at_once() -> None:
    with started() as server:
        await run(server.url, "CREATE ROLE known LOGIN PASSWORD 'right'", "GRANT CREATE ON DATABASE postgres TO known")
        server.set_authentication("scram-sha-256", but="postgres")
        saver = PostgresSaver(f"postgresql://known:right@127.0.0.1:{server.port}/postgres")
        await some_thread(saver)
        await run(
            server.url,
            "ALTER ROLE known PASSWORD 'another'",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'known'",
        )
        assert "correct the user or the password" in await error_of(saver)


async def test_the_error_for_a_missing_database_names_it(postgres: str) -> None:
    text = await error_of(PostgresSaver(urlsplit(postgres)._replace(path="/no_such").geturl()))
    assert 'database "no_such" does not exist' in text
    assert "CREATE DATABASE" in text


async def test_a_database_of_another_encoding_is_refused(postgres: str) -> None:
    name = "of_another_encoding"
    options = "TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    await run(postgres, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name} {options}")
    try:
        text = await error_of(PostgresSaver(urlsplit(postgres)._replace(path=f"/{name}").geturl()))
        assert "encoding is LATIN1" in text
        assert "ENCODING 'UTF8'" in text
    finally:
        await run(postgres, f"DROP DATABASE {name}")


async def test_a_server_that_is_too_old_is_refused(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "_OLDEST", 99)
    assert "use PostgreSQL 99 or newer" in await error_of(PostgresSaver(postgres))


async def test_tables_that_were_dropped_while_the_saver_was_open_are_no_outage(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, PostgresSaver(postgres, schema=schema) as saver:
        await some_thread(saver)
        await run(postgres, f"DROP SCHEMA {quoted(schema)} CASCADE")
        text = await error_of(saver)
        assert "restore them from a backup" in text


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (asyncpg.InvalidSQLStatementNameError('prepared statement "__asyncpg_stmt_1__" does not exist'), "=False"),
        (asyncpg.DuplicatePreparedStatementError('prepared statement "s" already exists'), "=False"),
        (asyncpg.ProtocolViolationError("unsupported startup parameter: jit"), "=False"),
        (asyncpg.ProtocolViolationError("no such database: runs"), "pooler's configuration"),
        (asyncpg.UntranslatableCharacterError("has no equivalent in encoding"), "UTF8"),
        (asyncpg.UndefinedColumnError('column "x" does not exist'), "restore"),
        (asyncpg.InvalidAuthorizationSpecificationError("no pg_hba.conf entry for host, no encryption"), "require"),
        (asyncpg.InterfaceError("pool is closed"), "open for as long as the saver is"),
    ],
)
def test_configuration_errors_that_poolers_and_pools_report_are_no_outage(error: Exception, remedy: str) -> None:
    assert not is_passing(error)
    assert remedy in (remedy_of(error) or "")
    assert isinstance(translated("store", error, schema="s"), StoreConfigurationError)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.ProtocolViolationError("query_wait_timeout"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InterfaceError("cannot perform operation: connection is closed"),
        ConnectionRefusedError(),
        TimeoutError(),
    ],
)
def test_outages_are_passing_errors_and_reported_as_unavailable(error: Exception) -> None:
    assert is_passing(error)
    assert remedy_of(error) is None
    assert type(translated("store", error, schema="s")) is StoreUnavailableError


# Privileges of a role


@asynccontextmanager
async def role_of(dsn: str, name: str) -> AsyncIterator[str]:
    """The DSN of a role without privileges. The role is dropped afterwards."""
    await run(dsn, f"CREATE ROLE {quoted(name)} LOGIN PASSWORD 'any'")
    parts = urlsplit(dsn)
    try:
        yield parts._replace(netloc=f"{quote(name)}:any@{parts.netloc.rpartition('@')[2]}").geturl()
    finally:
        await run(dsn, f"DROP OWNED BY {quoted(name)}", f"DROP ROLE {quoted(name)}")


async def test_the_error_for_a_missing_grant_names_the_grant_that_fixes_it(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, role_of(postgres, f"role of {schema}") as theirs:
        # The schema does not exist, and the role may not create it.
        with pytest.raises(StoreConfigurationError, match="GRANT CREATE ON DATABASE") as caught:
            await PostgresSaver(theirs, schema=schema).load("t")
        await run(postgres, caught.value.remedy.partition(": ")[2])
        async with PostgresSaver(theirs, schema=schema) as saver:
            writer = await some_thread(saver, "t")
            await commit(saver, writer, Step({"count": b"4"}))


async def test_a_schema_in_which_the_role_may_create_nothing_is_reported_with_the_grant(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, role_of(postgres, f"role of {schema}") as theirs:
        await run(postgres, f"CREATE SCHEMA {quoted(schema)}")
        with pytest.raises(StoreConfigurationError, match="GRANT USAGE, CREATE ON SCHEMA") as caught:
            await PostgresSaver(theirs, schema=schema).load("t")
        await run(postgres, caught.value.remedy.partition(": ")[2])
        async with PostgresSaver(theirs, schema=schema) as saver:
            await some_thread(saver)


async def test_tables_that_the_role_may_not_use_are_reported_with_the_grants(postgres: str) -> None:
    async with schema_of_its_own(postgres) as schema, role_of(postgres, f"role of {schema}") as theirs:
        async with PostgresSaver(postgres, schema=schema) as saver:
            writer = await some_thread(saver)
        with pytest.raises(StoreConfigurationError, match="GRANT USAGE ON SCHEMA") as caught:
            await PostgresSaver(theirs, schema=schema).load("t")
        await run(postgres, f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {quoted(f'role of {schema}')}")
        await run(postgres, f"GRANT SELECT ON {quoted(schema)}.format TO {quoted(f'role of {schema}')}")
        async with PostgresSaver(theirs, schema=schema) as saver:
            with pytest.raises(
                StoreUnavailableError, check=of_kind("read_only"), match="GRANT SELECT, INSERT, UPDATE, DELETE"
            ):
                await saver.load("thread")
        await run(postgres, caught.value.remedy.partition(": ")[2])
        async with PostgresSaver(theirs, schema=schema) as saver:
            await commit(saver, writer, Step({"count": b"4"}))
            assert state_of(await loaded(saver, "thread")) == writer.state()


async def test_a_role_that_may_not_connect_is_reported_with_the_grant(postgres: str) -> None:
    name = "closed_database"
    await run(postgres, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    try:
        await run(postgres, f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
        async with role_of(postgres, "shut_out") as theirs:
            text = await error_of(PostgresSaver(urlsplit(theirs)._replace(path=f"/{name}").geturl()))
            assert "GRANT CONNECT ON DATABASE" in text
    finally:
        await run(postgres, f"DROP DATABASE {name}")


async def test_a_setting_that_the_role_may_not_set_is_reported_as_a_setting_of_the_dsn(postgres: str) -> None:
    async with role_of(postgres, "no_superuser") as theirs:
        text = await error_of(PostgresSaver(with_parameters(theirs, "log_statement=all")))
        assert "remove it from the DSN" in text
