"""Forbidden contents of files, the length of modules, and links to existing files."""

import re
from pathlib import Path

import pytest

from tests.repository.tree import ROOT, library_modules, tracked_files

LONGEST_MODULE = 500
"""An alarm, not a goal: one idea is better kept in one long module than cut in two."""

OF_ONE_MACHINE = re.compile(
    r"""
      /(?:home|Users)/[\w.-]+/          # somebody's home
    | (?<![\w.])/roo[t]/                 # the superuser's
    | (?<![\w.])/wor[k](?:spaces?)?/     # a folder that is mounted for building
    | \b[A-Z]:\\Users\\
    | --(?:extra-)?index[-]url          # where packages come from
    | \bindex[-_]url\s*=
    | --find[-]links
    | https?://[^\s/]*(?:pypi|npm|registry|mirror|artifact)
    | https?://\S+/simple\b
    | \b[\w-]*(?:pypi|npm)[\w-]*\.(?:com|dev|io|net|org)\b
    """,
    re.VERBOSE,
)

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def documents() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md"]


def decisions() -> list[Path]:
    return [path for path in documents() if path.parent == ROOT / "docs/decisions"]


def test_modules_are_short() -> None:
    lengths = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in library_modules()}

    assert {name: length for name, length in lengths.items() if length > LONGEST_MODULE} == {}


def test_no_file_names_the_machine_it_was_written_on() -> None:
    found = {name_of(path): OF_ONE_MACHINE.search(path.read_text(encoding="utf-8")) for path in tracked_files()}

    assert {name: match[0] for name, match in found.items() if match} == {}


@pytest.mark.parametrize(
    "text",
    [
        "/".join(["", "home", "ada", "project"]),
        "/".join(["cd ", "root", "project"]),
        "/".join(["", "work", "project"]),
        "-".join(["pip install -", "-index", "url x"]),
        "_".join(["index", "url = x"]),
        "https://" + "packages.registry.example/x",
        "https://" + "packages.example/simple/",
        "npm-like" + ".dev",
    ],
)
def test_names_of_a_machine_are_detected(text: str) -> None:
    assert OF_ONE_MACHINE.search(text)


def test_every_link_leads_to_a_file() -> None:
    links = [(document, target) for document in documents() for target in local_targets(document)]

    assert len(links) > 100
    assert [
        f"{name_of(document)}: {target}" for document, target in links if not (document.parent / target).exists()
    ] == []


def local_targets(document: Path) -> list[str]:
    """The files that a document links to."""
    text = FENCED.sub("", document.read_text(encoding="utf-8"))
    targets = [target.split("#")[0] for target in LINK.findall(text) if "://" not in target]
    return [target for target in targets if target]


def test_decision_records_have_their_number_and_four_parts() -> None:
    parts = ["Context", "Decision", "Consequences", "What we tried"]
    texts = {name_of(record): (int(record.name[:4]), record.read_text(encoding="utf-8")) for record in decisions()}

    assert texts
    assert [
        name
        for name, (number, text) in texts.items()
        if not text.startswith(f"# {number}. ") or re.findall(r"^## (.+)$", text, re.MULTILINE) != parts
    ] == []


def test_decision_records_have_different_numbers() -> None:
    numbers = [record.name[:4] for record in decisions()]

    assert len(numbers) == len(set(numbers))
