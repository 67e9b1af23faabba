"""The migration guide for users of LangGraph is correct."""

import importlib
import re

from tests.programs.imports import GUIDE, TABLE, same_names
from tests.repository.tree import PACKAGES

ROW = re.compile(r"^\| (?P<names>.*?`.*?) \| (?P<here>.+?) \|", re.MULTILINE)
NAME = re.compile(r"(?:[a-z_]\w*\.)*(?P<name>[A-Za-z_]\w*)(?:\(.*)?")
# The members of a class and the keys of a dict are no names to import.
MEMBERS = re.compile(r"\A.+?(?=^## `langgraph)|^### .+?(?=^## |^### |\Z)|^## The config dict.+", re.M | re.S)
# `Annotated[T, reducer]` replaces the first name, and the second belongs to `entrypoint`.
NOT_IMPORTED = {"BinaryOperatorAggregate", "final"}
SAME = [found for found in same_names() if found.name not in NOT_IMPORTED]


def rows() -> list[re.Match[str]]:
    return list(ROW.finditer(MEMBERS.sub("", GUIDE)))


def names_of(row: re.Match[str]) -> set[str]:
    """The names in the first column of a row, without their modules."""
    quoted = (NAME.fullmatch(text) for text in re.findall(r"`([^`]+)`", row["names"]))
    return {found["name"] for found in quoted if found}


def test_the_table_maps_every_import_to_a_package_of_ours_or_to_itself() -> None:
    of_most_programs = {
        "langgraph.graph",
        "langgraph.graph.message",
        "langgraph.types",
        "langgraph.func",
        "langgraph.config",
        "langgraph.runtime",
        "langgraph.errors",
        "langgraph.checkpoint.memory",
    }

    assert {TABLE[module] for module in of_most_programs} == {"durable_graph"}
    assert TABLE["langgraph.prebuilt"] == "durable_graph_langchain"
    assert TABLE["langchain_core"] == "langchain_core"
    assert all(package in PACKAGES or package == module for module, package in TABLE.items())


def test_same_names_are_exported_by_the_package_in_the_table() -> None:
    assert [same.name for same in SAME if not same.modules] == [], "the table of imports has none of their modules"
    assert [
        f"{same.name} in {TABLE[module]}"
        for same in SAME
        for module in same.modules
        if same.name not in importlib.import_module(TABLE[module]).__all__
    ] == []


def test_more_than_fifty_names_are_the_same() -> None:
    assert len({same.name for same in SAME}) > 50


def test_every_row_states_the_status_of_its_names() -> None:
    said = {row["here"].split()[0].strip(":;,.") for row in rows() if not row["here"].startswith("`")}

    assert said <= {"same", "renamed", "different", "not", "ours"}
