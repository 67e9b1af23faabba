"""Savers opened by URL."""

import asyncio
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from durable_graph import Checkpointer, MemorySaver, open_checkpointer
from durable_graph.errors import InvalidOptionError, MissingBackendError
from durable_graph_sqlite import SqliteSaver
from tests.errors.kinds import of_kind

_METADATA = "Metadata-Version: 2.1\nName: some-backends\nVersion: 1\n"
_ENTRIES = """[durable_graph.backends]
ours = durable_graph.checkpointing:MemorySaver
file = durable_graph_sqlite:SqliteSaver
strange = tests.checkpointing.test_opening:NoSaver
"""


class NoSaver:
    @classmethod
    def from_url(cls, url: str) -> "NoSaver":
        return cls()


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with entry points of backends, as if it were installed."""
    metadata = tmp_path / "some_backends-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(_METADATA)
    (metadata / "entry_points.txt").write_text(_ENTRIES)
    monkeypatch.syspath_prepend(tmp_path)


def test_a_scheme_finds_its_backend(tmp_path: Path) -> None:
    assert {"ours", "file", "strange"} <= entry_points(group="durable_graph.backends").names
    saver = open_checkpointer(f"file:///{tmp_path}/runs.db")
    assert isinstance(saver, SqliteSaver)

    async def use() -> None:
        async with saver:
            assert await saver.load("thread") is None

    asyncio.run(use())


def test_a_url_without_a_known_scheme_is_refused() -> None:
    with pytest.raises(MissingBackendError, check=of_kind("backend"), match="'mysql'") as caught:
        open_checkpointer("mysql://localhost/runs")
    assert {"ours", "file"} <= set(caught.value.known)
    for path in ("runs.db", ":memory:"):
        with pytest.raises(
            MissingBackendError, check=of_kind("backend"), match=r"begins with a scheme.*sqlite:///runs\.db"
        ):
            open_checkpointer(path)


def test_the_error_of_a_backend_with_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "durable_graph_postgres"]:
        monkeypatch.delitem(sys.modules, module)
    # A module that is None in `sys.modules` cannot be imported.
    monkeypatch.setitem(sys.modules, "asyncpg", None)

    with pytest.raises(MissingBackendError, check=of_kind("driver"), match="pip install asyncpg") as caught:
        open_checkpointer("postgresql://localhost/runs")

    assert (caught.value.scheme, caught.value.driver) == ("postgresql", "asyncpg")


def test_a_backend_that_returns_no_checkpointer_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="NoSaver"):
        open_checkpointer("strange://")


def test_a_url_that_the_backend_cannot_read_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="ours://there"):
        open_checkpointer("ours://there")


def test_a_memory_url_takes_no_path() -> None:
    assert isinstance(MemorySaver.from_url("memory://"), Checkpointer)
    with pytest.raises(InvalidOptionError):
        MemorySaver.from_url("memory://runs")
