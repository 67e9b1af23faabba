"""The files that a saver accepts. It leaves all other files unchanged."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from durable_graph.errors import (
    CheckpointerMisuseError,
    InvalidOptionError,
    StoreConfigurationError,
    StoreFormatError,
    StoreUnavailableError,
)
from durable_graph.testing.conformance.saver_under_test import loaded, some_thread
from durable_graph_sqlite import SqliteSaver
from durable_graph_sqlite.opening import APPLICATION_ID
from durable_graph_sqlite.statements import FORMAT
from tests.errors.kinds import of_kind
from tests.sqlite.inside import count, database


async def _refused(path: Path, error: type[Exception], kind: str | None = None) -> Exception:
    before = path.read_bytes()
    saver = SqliteSaver(path)
    with pytest.raises(error, check=of_kind(kind)) as caught:
        await saver.load("thread")
    with pytest.raises(error, check=of_kind(kind)):
        await some_thread(saver)
    await saver.aclose()
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    return caught.value


@pytest.mark.parametrize("content", [b"x", b"not a database\n" * 500, bytes(4096), b"SQLite format 3\0" + b"x" * 4096])
async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert str(path) in str(await _refused(path, StoreConfigurationError, "foreign_file"))


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
async def test_another_applications_database_is_left_alone(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "theirs.db"
    with database(path) as db:
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute("CREATE TABLE threads (tid INTEGER PRIMARY KEY)")
    before = path.read_bytes()
    with pytest.raises(StoreConfigurationError, check=of_kind("foreign_file")):
        await SqliteSaver(path).load("thread")
    assert path.read_bytes() == before


async def test_an_empty_database_of_another_application_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with database(path) as db:
        db.execute("PRAGMA user_version = 0")
        db.execute("VACUUM")
    assert path.stat().st_size > 0
    await _refused(path, StoreConfigurationError, "foreign_file")


async def test_a_newer_format_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    async with SqliteSaver(path) as saver:
        await some_thread(saver)
    with database(path) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("PRAGMA journal_mode = DELETE")
    error = await _refused(path, StoreFormatError)
    assert isinstance(error, StoreFormatError)
    assert error.found == 99


async def test_a_new_file_has_the_application_id_and_the_format(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.touch()
    async with SqliteSaver(path) as saver:
        await some_thread(saver)
    with database(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def _crash_while_writing(path: Path, application_id: int) -> None:
    """Run a process that dies between writing its pages and committing them, and so leaves a rollback journal."""
    crash = (
        "import os, sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('PRAGMA cache_size = 1')\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "db.execute(f'PRAGMA application_id = {sys.argv[2]}')\n"
        "[db.execute(f'CREATE TABLE t{n} (x)') for n in range(50)]\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", crash, str(path), str(application_id)], check=True)
    assert path.with_name(f"{path.name}-journal").exists()
    assert path.stat().st_size > 0


async def test_the_rollback_journal_of_another_application_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with database(path) as db:
        db.execute("CREATE TABLE theirs (x)")
    _crash_while_writing(path, 0)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(StoreConfigurationError, check=of_kind("foreign_file")):
        await SqliteSaver(path).load("thread")
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


async def test_a_new_file_that_stays_locked_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    saver = SqliteSaver(path, busy_timeout=0.02)
    with database(path) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailableError, match="locked"):
            await saver.load("thread")
        db.execute("ROLLBACK")
    assert await saver.load("thread") is None
    await saver.aclose()


async def test_an_interrupted_creation_of_a_file_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    _crash_while_writing(path, APPLICATION_ID)
    async with SqliteSaver(path) as saver:
        writer = await some_thread(saver)
        assert (await loaded(saver, "thread")).thread == writer.thread


async def test_a_missing_directory_is_not_created(tmp_path: Path) -> None:
    saver = SqliteSaver(tmp_path / "missing" / "runs.db")
    with pytest.raises(StoreUnavailableError, match="missing"):
        await saver.load("thread")
    (tmp_path / "missing").mkdir()
    # The failure leaves no state: the next call finds the directory.
    assert await saver.load("thread") is None
    await saver.aclose()


async def test_a_directory_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreConfigurationError, check=of_kind("foreign_file")):
        await SqliteSaver(tmp_path).load("thread")


async def test_a_saver_opens_on_first_use(tmp_path: Path) -> None:
    saver = SqliteSaver(tmp_path / "runs.db")
    assert list(tmp_path.iterdir()) == []
    await saver.aclose()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CheckpointerMisuseError, check=of_kind("closed")) as raised:
        await saver.load("thread")
    assert isinstance(raised.value, CheckpointerMisuseError)


@pytest.mark.parametrize("path", ["", ":memory:"])
def test_a_path_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(InvalidOptionError):
        SqliteSaver(path)


async def test_a_url_may_be_relative_absolute_and_encoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b").mkdir()
    for url, name in (
        ("sqlite:///runs.db", "runs.db"),
        ("sqlite:///a%20b/what%3F.db", "a b/what?.db"),
        (f"sqlite:///{tmp_path}/absolute.db", "absolute.db"),
    ):
        async with SqliteSaver.from_url(url) as saver:
            await some_thread(saver)
        assert count(tmp_path / name, "threads") == 1


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://host/runs.db", "sqlite:///runs.db?mode=ro", "sqlite:///runs.db#here"]
)
def test_a_url_without_a_path_or_with_other_parts_is_refused(url: str) -> None:
    with pytest.raises(InvalidOptionError):
        SqliteSaver.from_url(url)


_READ_ONLY = """
import asyncio, os, sys
from pathlib import Path
from durable_graph.errors import StoreUnavailableError
from durable_graph.testing.rows import Step, Writer
from durable_graph_sqlite import SqliteSaver

async def main(path):
    saver = SqliteSaver(path)
    try:
        await saver.commit(Writer.of("new").unit(Step({"count": b"1"})))
    except StoreUnavailableError as error:
        print(type(error).__name__)
    await saver.aclose()

if os.getuid() == 0:
    os.setuid(65534)  # The superuser may write anywhere.
asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("what", ["file", "directory", "directory without the file"])
async def test_a_store_without_write_permission_is_unavailable(tmp_path: Path, what: str) -> None:
    for parent in (tmp_path, *tmp_path.parents[:2]):
        parent.chmod(0o755)
    path = tmp_path / "shut" / "runs.db"
    path.parent.mkdir()
    if what != "directory without the file":
        async with SqliteSaver(path) as saver:
            await some_thread(saver)
        path.chmod(0o444)
    path.parent.chmod(0o777 if what == "file" else 0o555)
    done = subprocess.run(
        [sys.executable, "-c", _READ_ONLY, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "StoreUnavailableError\n", done.stderr
    path.parent.chmod(0o755)


def test_the_library_of_sqlite_is_new_enough() -> None:
    assert sqlite3.sqlite_version_info >= (3, 37)
