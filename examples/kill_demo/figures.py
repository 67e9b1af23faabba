"""What there is to find out about one source file."""

import ast
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

NAMES_KEPT = 10

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class FileFigures:
    """The figures of one file. `documented` are functions with a docstring, `names` its most used ones.

    `problem` says why a file could not be analysed.
    """

    file: str
    lines: int = 0
    functions: int = 0
    documented: int = 0
    classes: int = 0
    longest_function: str = ""
    longest_function_lines: int = 0
    imports: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    problem: str | None = None


def figures_of(folder: Path, file: str) -> FileFigures:
    """Read and analyse `folder / file`."""
    source = (folder / file).read_bytes()
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError) as error:
        return FileFigures(file, problem=f"{type(error).__name__}: {error}")
    functions = [node for node in nodes if isinstance(node, Function)]
    longest = max(functions, key=_length, default=None)
    names = Counter(node.id for node in nodes if isinstance(node, ast.Name))
    return FileFigures(
        file,
        lines=len(source.splitlines()),
        functions=len(functions),
        documented=sum(ast.get_docstring(each, clean=False) is not None for each in functions),
        classes=sum(isinstance(node, ast.ClassDef) for node in nodes),
        longest_function=longest.name if longest else "",
        longest_function_lines=_length(longest) if longest else 0,
        imports=sorted({module for node in nodes for module in _imported(node)}),
        names=[name for name, _ in names.most_common(NAMES_KEPT)],
    )


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _imported(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=aliases):
            return [alias.name.partition(".")[0] for alias in aliases]
        case ast.ImportFrom(module=str(module), level=0):
            return [module.partition(".")[0]]
    return []
