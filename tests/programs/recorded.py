"""Programs written for LangGraph, and the line that each prints on LangGraph 1.2.22."""

import ast
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "for_langgraph"
PROGRAMS: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.py")))


def source_of(program: str) -> str:
    """The program as it was written."""
    return (FOLDER / f"{program}.py").read_text(encoding="utf-8")


def line_of(program: str) -> str:
    """The line that the program prints: JSON without ids and times, and a line break."""
    return (FOLDER / f"{program}.json").read_text(encoding="utf-8")


def imported_modules(source: str) -> set[str]:
    """The modules in the import lines of the program."""
    found = ast.parse(source).body
    plain = {name.name for line in found if isinstance(line, ast.Import) for name in line.names}
    return plain | {line.module for line in found if isinstance(line, ast.ImportFrom) and line.module}
