"""The code of documentation pages runs, block after block, as a reader would run it."""

import ast
import asyncio
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from tests.postgres.server import Server, free_port, started
from tests.repository.tree import ROOT, readme_programs

PRINTED: Final = {
    "docs/aiohttp.md": [
        "Book Hotel Lisbon?",
        "{'city': 'Lisbon', 'hotel': 'Hotel Lisbon', 'booked': True}",
        "{'looking in': 'Porto'}",
        'data: {"looking in": "Faro"}',
    ],
    "docs/children.md": [
        "waiting 1",
        "shipment carrier of order 7?",
        "{'number': 7, 'parcel': 'DHL-7'}",
        "{'number': 13, 'parcel': 'none: failed'}",
        "365",
        "{'count': 200}",
        "True",
    ],
    "docs/coming-from-langgraph.md": [
        "{'publish?': 'Tea is a drink.'}",
        "['Write about tea.', 'Tea is a drink.', 'Yes.']",
    ],
    "docs/events.md": [
        "{'looking for': 'hotels'}",
        "{'found': ['a hotel in Lisbon']}",
        "() True",
        "[]",
        "7 True",
        "0 True",
    ],
    "docs/executors.md": [
        "[4, 25, 168]",
        "29",
        "node 'count' it is a lambda",
        "lost",
        "{'text': 'parsed'}",
    ],
    "docs/fastapi.md": [
        "Book Hotel Lisbon?",
        "{'city': 'Lisbon', 'hotel': 'Hotel Lisbon', 'booked': True}",
        "403",
        "[]",
        "{'looking in': 'Porto'}",
    ],
    "docs/how-resume-works.md": [],
    "docs/http.md": [
        "idle {'user': 'ada'}",
        "Ship this order?",
        "{'id': 7, 'approved_by': 'ada'}",
        "409 ada",
        "['order-7']",
        "1",
    ],
    "docs/langgraph-clients.md": [
        "Take| |the| |train|Book it?",
        "True",
        "idle",
        "Book it?",
        "True",
    ],
    "docs/queues.md": [
        "HELLO",
        "20 0 0 1",
        "concurrency 0",
    ],
    "docs/scaling.md": [
        "1900",
        "[True, True]",
        "order 1 0 0 True 0",
    ],
    "docs/schedules.md": [
        "30 2 * * MON-FRI Europe/Berlin 0 False",
        "False True",
        "('cron',)",
        "True",
        "True",
        "1 0 True",
        "['0 4 * * *'] 0:05:00",
        "True",
        "7",
    ],
    "docs/signals.md": [
        "False",
        "True",
        "{'approved': True, 'parcel': 'X1'}",
        "False",
        "checked: Green tea",
        "{'title': 'Green tea', 'approved': True}",
    ],
    "docs/storage.md": [
        "1 threads can be read",
        "{'topic': 'coffee', 'text': 'all about coffee'}",
        "{'topic': 'tea', 'text': 'all about tea'}",
    ],
    "docs/streams-over-http.md": [
        "metadata ",
        'custom {"looking in":"Porto"}',
        'updates {"search":{"hotel":"a hotel in Porto"}}',
        "['metadata', 'values', 'custom', 'updates', 'values']",
    ],
    "docs/threads.md": [
        "orders refunds",
        "True {'log': ['order 8', 'charged']}",
        "False {'log': ['order 8', 'charged']}",
        "t-8",
        "True",
        "cancelled",
        "True running",
        "ann/1 idle orders Green tea",
    ],
    "docs/time.md": [
        "True True",
        "{'log': 'reminded: tomorrow'}",
        "waiting True",
        "waiting",
        "{'item': 'tea', 'approved': 'no', 'log': 'tea: no'}",
    ],
    "docs/types.md": [
        "price",
        "{'paid_by': Card(number='4711'), 'price': '5 EUR', 'notes': ['new']}",
        "Card(number=4711, issuer='unknown')",
        "{'share': Fraction(1, 3), 'others': {'amy': Fraction(2, 3)}}",
        "[[1.0, 0.0], [0.0, 1.0]]",
    ],
    "docs/workers.md": [
        "ready",
        "cancelled ready",
        "{'id': 7, 'log': 'approved by Ada, shipped'}",
        "{'approved by Ada, shipped'}",
    ],
}
"""The lines that the code of each page prints."""

BLOCK: Final = re.compile(r"^```(python|sh)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

FILE: Final = re.compile(r"# (\w+\.py)$", re.MULTILINE)
"""The first line of a block that is a file of the reader's."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A separate PostgreSQL server, because pages use the saver's default schema."""
    with started() as opened:
        yield opened


def run_blocks(text: str, names: dict[str, Any]) -> None:
    """Run the blocks of a page in the working directory. Python blocks share `names` and one event loop."""
    with asyncio.Runner() as runner:
        for block in BLOCK.finditer(text):
            kind, code = block.groups()
            if kind == "sh":
                # The shell on the search path is the one that a reader of the page has.
                subprocess.run(["sh", "-euc", code], check=True)  # noqa: S607
                continue
            if (named := FILE.match(code)) is not None:
                Path(named[1]).write_text(code, encoding="utf-8")
            # The padding makes a traceback show the line of the page.
            code = "\n" * text[: block.start(2)].count("\n") + code
            flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            program = compile(code, names["__name__"], "exec", flags=flags, dont_inherit=True)
            running = eval(program, names)  # noqa: S307  # the page is our own
            if inspect.iscoroutine(running):
                runner.run(running)


@pytest.mark.parametrize("page", PRINTED)
def test_the_code_of_a_page_runs(
    page: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    # A block may import the file of a block before it.
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("DSN", server.url)
    monkeypatch.setenv("PORT", str(free_port()))
    programs = [str(server.programs), str(Path(sys.executable).parent), os.environ["PATH"]]
    monkeypatch.setenv("PATH", os.pathsep.join(programs))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(str(ROOT / each) for each in ("", "backends", "integrations")))

    # Annotations are resolved in the module that a class names, so there has to be one.
    module = ModuleType(page)
    monkeypatch.setitem(sys.modules, page, module)
    run_blocks((ROOT / page).read_text(encoding="utf-8"), vars(module))

    assert capsys.readouterr().out.splitlines() == PRINTED[page]


def test_the_programs_of_the_readme_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)

    for program in readme_programs():
        run_blocks(f"```python\n{program}```\n", vars(module))

    assert capsys.readouterr().out.splitlines() == [
        "{'topic': 'tea', 'drafts': ['draft 1 on tea', 'draft 2 on tea', 'draft 3 on tea']}",
        "Pay 240 euros?",
        "['Pay for the hotel.', '', 'paid', 'The hotel is paid.']",
    ]


def test_every_page_with_python_code_is_run() -> None:
    pages = {page for page in (ROOT / "docs").glob("*.md") if "```python\n" in page.read_text(encoding="utf-8")}

    assert pages == {ROOT / page for page in PRINTED}


@pytest.mark.parametrize("block", ["```python\nawait nothing()\n```\n", "```sh\nfalse\n```\n"])
def test_a_failing_block_of_a_page_fails_the_test(block: str) -> None:
    with pytest.raises((NameError, subprocess.CalledProcessError)):
        run_blocks(f"Text.\n\n{block}", {"__name__": "page"})


def test_an_error_in_a_page_is_reported_with_its_line() -> None:
    page = "# A page\n\n```python\nx = 1\n```\n\nand\n\n```python\nassert x == 2\n```\n"

    with pytest.raises(AssertionError) as raised:
        run_blocks(page, {"__name__": "page"})
    assert raised.traceback[-1].lineno == 9
