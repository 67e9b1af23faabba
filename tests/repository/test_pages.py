"""The code on the pages of `docs/` runs: the blocks of a page are one program."""

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from tests.repository.test_docs_code import PAGES as PAGES_OF_POSTGRES
from tests.repository.tree import ROOT

BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted(
    page
    for page in (ROOT / "docs").glob("*.md")
    if BLOCK.search(page.read_text(encoding="utf-8")) and str(page.relative_to(ROOT)) not in PAGES_OF_POSTGRES
)
"""Those that need a PostgreSQL run in `test_docs_code.py`."""


def program_of(page: Path) -> str:
    """The code of a page, on the lines that it has there: an error names them."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start("code"))
        code = block["code"].splitlines()
        lines[first : first + len(code)] = code
    return "\n".join(lines)


async def run(page: Path) -> dict[str, Any]:
    """Run a page's program, which may await at its top level, and give what it has defined."""
    code = compile(program_of(page), str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    defined: dict[str, Any] = {"__name__": f"page_{page.stem}"}
    running = eval(code, defined)  # noqa: S307  # the page is ours
    if inspect.isawaitable(running):
        await running
    return defined


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
async def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    await run(page)


def test_pages_with_code_are_found() -> None:
    assert ROOT / "docs" / "how-resume-works.md" in PAGES


async def test_an_error_in_a_page_is_told_by_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n```python\nx = 1\n```\n\nand\n\n```python\nassert x == 2\n```\n", encoding="utf-8")

    with pytest.raises(AssertionError) as raised:
        await run(page)
    assert raised.traceback[-1].lineno == 9
