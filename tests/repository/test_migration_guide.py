"""The guide for those who come from LangGraph says what is so."""

import re

import durable_graph
import durable_graph_langchain
import durable_graph_sqlite
from tests.repository.tree import ROOT

GUIDE = (ROOT / "docs" / "coming-from-langgraph.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?P<names>.*?`.*?) \| (?P<here>.+?) \|", re.MULTILINE)
NAME = re.compile(r"(?:[a-z_]\w*\.)*(?P<name>[A-Za-z_]\w*)(?:\(.*)?")
# What a class offers or a dict holds is no name to import.
MEMBERS = re.compile(r"\A.+?(?=^## `langgraph)|^### .+?(?=^## |^### |\Z)|^## The config dict.+", re.M | re.S)
# `Annotated[T, reducer]` is what makes the first, `final` belongs to `entrypoint`, and the others are modules.
NOT_IMPORTED = {"BinaryOperatorAggregate", "chat_agent_executor", "constants", "final", "tool_node"}


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer(MEMBERS.sub("", GUIDE)))


def names_of(row: re.Match[str]) -> set[str]:
    quoted = (NAME.fullmatch(text) for text in re.findall(r"`([^`]+)`", row["names"]))
    return {found["name"] for found in quoted if found}


def test_the_names_that_are_the_same_are_there() -> None:
    same = {name for row in rows() if row["here"].startswith("same") for name in names_of(row)}
    there = {*durable_graph.__all__, *durable_graph_sqlite.__all__, *durable_graph_langchain.__all__}

    assert len(same) > 40
    assert same - there - NOT_IMPORTED == set()


def test_every_row_says_what_became_of_its_names() -> None:
    said = {row["here"].split()[0].strip(":;,.") for row in rows() if not row["here"].startswith("`")}

    assert said <= {"same", "renamed", "different", "not", "ours"}
