"""The graph of the demo: list the files, analyse them in batches side by side, sum up, write the report.

    list_files --> analyse x N --> summarise --> write_report

Nothing in it knows of checkpoints, processes or kills. The ledger is there for the proof alone.
"""

import operator
import os
from pathlib import Path
from typing import Annotated, TypedDict

from durable_graph import END, START, Runtime, Send, StateGraph
from examples.kill_demo.figures import FileFigures, figures_of
from examples.kill_demo.ledger import Ledger
from examples.kill_demo.report import report_on

BATCHES = 60
# Tests, generated tables, and what others installed.
LEFT_OUT = {"test", "tests", "idlelib", "lib2to3", "encodings", "pydoc_data", "site-packages", ".venv"}


class Analysis(TypedDict, total=False):
    """The state. The batches' figures are appended to one another."""

    folder: str
    files: list[str]
    figures: Annotated[list[FileFigures], operator.add]
    report: str


class Batch(TypedDict):
    """What one task of the fan-out is given."""

    folder: str
    files: list[str]


def build_graph(ledger: Ledger, report: Path) -> StateGraph[Analysis]:
    """The graph, whose nodes keep `ledger` and write to `report`.

    The nodes are plain functions: they compute and read files, so they run in worker threads.
    """

    def list_files(state: Analysis, runtime: Runtime) -> Analysis:
        with ledger.task(runtime.execution_info.task_id):
            return {"files": source_files(Path(state["folder"]))}

    def split(state: Analysis) -> list[Send]:
        files = state["files"]
        count = min(BATCHES, len(files))
        return [Send("analyse", Batch(folder=state["folder"], files=files[n::count])) for n in range(count)]

    def analyse(batch: Batch, runtime: Runtime) -> Analysis:
        with ledger.task(runtime.execution_info.task_id):
            return {"figures": [figures_of(Path(batch["folder"]), file) for file in batch["files"]]}

    def summarise(state: Analysis, runtime: Runtime) -> Analysis:
        with ledger.task(runtime.execution_info.task_id):
            return {"report": report_on(state["folder"], state["figures"])}

    def write_report(state: Analysis, runtime: Runtime) -> None:
        with ledger.task(runtime.execution_info.task_id):
            _replace(report, state["report"])

    return (
        StateGraph(Analysis)
        .add_node(list_files)
        .add_node(analyse, input_schema=Batch)
        .add_node(summarise)
        .add_node(write_report)
        .add_edge(START, "list_files")
        .add_conditional_edges("list_files", split, ["analyse"])
        .add_edge("analyse", "summarise")
        .add_edge("summarise", "write_report")
        .add_edge("write_report", END)
    )


def source_files(folder: Path) -> list[str]:
    """The Python files below `folder`, by their relative paths, in one order on every machine."""
    files = (path.relative_to(folder) for path in folder.rglob("*.py"))
    return sorted(path.as_posix() for path in files if not LEFT_OUT.intersection(path.parts))


def _replace(path: Path, text: str) -> None:
    # A node that was killed runs again, so what it does outside must bear repetition: the whole file, or not at all.
    written = path.with_suffix(".part")
    with written.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    written.replace(path)
