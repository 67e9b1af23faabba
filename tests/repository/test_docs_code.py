"""The code of documentation pages runs, block after block, as a reader would run it."""

import ast
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.repository.tree import ROOT

SAID = {
    "docs/types.md": [
        "price",
        "{'paid_by': Card(number='4711'), 'price': '5 EUR', 'notes': ['new']}",
        "Card(number=4711, issuer='unknown')",
        "{'share': Fraction(1, 3), 'others': {'amy': Fraction(2, 3)}}",
        "[[1.0, 0.0], [0.0, 1.0]]",
    ]
}
"""What the code of each page prints."""

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


async def run_blocks(text: str, names: dict[str, Any]) -> None:
    """Run the blocks of a page, which have these names and may await."""
    for block in BLOCK.finditer(text):
        # So that a traceback shows the line of the page.
        code = "\n" * text[: block.start(1)].count("\n") + block[1]
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        running = eval(compile(code, names["__name__"], "exec", flags, dont_inherit=True), names)  # noqa: S307  # our own page
        if inspect.isawaitable(running):
            await running


@pytest.mark.parametrize("page", SAID)
async def test_the_code_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # Annotations are resolved in the module that a class names, so there has to be one.
    module = ModuleType(page)
    monkeypatch.setitem(sys.modules, page, module)
    await run_blocks((ROOT / page).read_text(encoding="utf-8"), vars(module))

    assert capsys.readouterr().out.splitlines() == SAID[page]


async def test_a_page_whose_code_fails_fails_the_test() -> None:
    with pytest.raises(NameError, match="nothing"):
        await run_blocks("Text.\n\n```python\nawait nothing()\n```\n", {"__name__": "page"})
