"""The table of imports in the migration guide, and LangGraph programs with their imports rewritten by this table."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tests.repository.tree import ROOT

GUIDE: Final = (ROOT / "docs" / "coming-from-langgraph.md").read_text(encoding="utf-8")

_BEFORE_AND_AFTER: Final = re.compile(r"^```py\n(.+?)^```$.+?^```python\n(.+?)^```$", re.MULTILINE | re.DOTALL)
_SECTION: Final = re.compile(r"^## Where each import goes\n(.+?)(?=^## )", re.MULTILINE | re.DOTALL)
_ROW: Final = re.compile(r"^\| (`.+?`) \| (?:`(?P<package>\w+)`|the same module)", re.MULTILINE)
_CHAPTER: Final = re.compile(r"^## (?P<title>`langgraph.+?)\n(?P<text>.+?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_MEMBERS: Final = re.compile(r"^### .+?(?=^### |\Z)", re.MULTILINE | re.DOTALL)
_SAME: Final = re.compile(r"^\| (?P<names>.*?`.*?) \| same", re.MULTILINE)
_NAME: Final = re.compile(r"(?:(?P<within>[a-z_][\w.]*)\.)?(?P<name>[A-Za-z_]\w*)(?:\(.*)?")
_IMPORT: Final = re.compile(r"^from (langgraph[\w.]*) import", re.MULTILINE)


def _read_table() -> dict[str, str]:
    section = _SECTION.search(GUIDE)
    assert section is not None
    return {
        module: row["package"] or module
        for row in _ROW.finditer(section[1])
        for module in re.findall(r"`([\w.]+)`", row[1])
    }


TABLE: Final = _read_table()
"""The module to import from, by LangGraph's module."""


def before_and_after() -> tuple[str, str]:
    """The program with which the guide begins, for LangGraph and for durable_graph."""
    found = _BEFORE_AND_AFTER.search(GUIDE)
    assert found is not None
    return found[1], found[2]


def rewritten(source: str) -> str:
    """The program with other modules in its import lines, and no other change."""
    return _IMPORT.sub(lambda line: f"from {TABLE[line[1]]} import", source)


class SameName(NamedTuple):
    """A name that the guide calls the same, and the modules of LangGraph that it may be imported from."""

    name: str
    modules: tuple[str, ...]


def same_names() -> Iterator[SameName]:
    """Every such name in the chapters about LangGraph's modules, without methods and modes."""
    for chapter in _CHAPTER.finditer(GUIDE):
        modules = re.findall(r"`(langgraph[\w.]*)`", chapter["title"])
        for row in _SAME.finditer(_MEMBERS.sub("", chapter["text"])):
            # A row such as "`constants`: `START`, `END`" begins with the module of its names.
            of_row, _, names = row["names"].rpartition("`: ")
            for found in filter(None, map(_NAME.fullmatch, re.findall(r"`([^`]+)`", names))):
                within = found["within"] or of_row.lstrip("`")
                yield SameName(found["name"], _among(modules, within))


def _among(modules: list[str], within: str) -> tuple[str, ...]:
    """The modules of the table that `within` may mean in a chapter about `modules`."""
    if not within:
        return tuple(module for module in modules if module in TABLE)
    meant = [within, f"langgraph.{within}", *(f"{module}.{within}" for module in modules)]
    return tuple(module for module in meant if module in TABLE)
