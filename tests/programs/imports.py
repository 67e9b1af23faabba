"""Where each import of a LangGraph program goes: the table of the migration guide, and what it makes of a program."""

import re
from typing import Final

from tests.repository.tree import ROOT

GUIDE: Final = (ROOT / "docs" / "coming-from-langgraph.md").read_text(encoding="utf-8")

_SECTION: Final = re.compile(r"^## Where each import goes\n(.+?)(?=^## )", re.MULTILINE | re.DOTALL)
_ROW: Final = re.compile(r"^\| (`.+?`) \| (?:`(?P<package>\w+)`|the same module)", re.MULTILINE)
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


def rewritten(source: str) -> str:
    """The program with other modules in its import lines, and no other change."""
    return _IMPORT.sub(lambda line: f"from {TABLE[line[1]]} import", source)
