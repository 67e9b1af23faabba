"""What no file may hold, how long a module may be, and links that lead somewhere."""

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


@pytest.mark.parametrize("path", library_modules(), ids=name_of)
def test_a_module_is_short_enough_to_be_read_at_once(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())

    assert lines <= LONGEST_MODULE


@pytest.mark.parametrize("path", tracked_files(), ids=name_of)
def test_a_file_says_nothing_about_the_machine_it_was_written_on(path: Path) -> None:
    found = OF_ONE_MACHINE.search(path.read_text(encoding="utf-8"))

    assert found is None, f"{name_of(path)}: {found[0]}"


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
def test_what_a_file_must_not_say_is_seen(text: str) -> None:
    assert OF_ONE_MACHINE.search(text)


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_every_link_leads_to_a_file(document: Path) -> None:
    text = FENCED.sub("", document.read_text(encoding="utf-8"))
    targets = [target.split("#")[0] for target in LINK.findall(text) if "://" not in target]

    assert [target for target in targets if target and not (document.parent / target).exists()] == []


@pytest.mark.parametrize("record", decisions(), ids=name_of)
def test_a_decision_record_has_its_number_and_its_parts(record: Path) -> None:
    text = record.read_text(encoding="utf-8")

    assert text.startswith(f"# {int(record.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "What we tried"]


def test_no_two_decision_records_have_one_number() -> None:
    numbers = [record.name[:4] for record in decisions()]

    assert len(numbers) == len(set(numbers))
