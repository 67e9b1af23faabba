"""Figures of the source, and of importing it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import durable_graph

_RUNTIME = Path(durable_graph.__file__).parent / "_runtime"


def imported_modules() -> int:
    """The number of modules that `import durable_graph` loads in a new interpreter after its dependencies."""
    counting = "import sys, asyncio, anyio.to_thread, msgspec; before = len(sys.modules)"
    program = f"{counting}; import durable_graph; print(len(sys.modules) - before)"
    return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout)


def of_the_source() -> dict[str, float]:
    """Of `_runtime`: the number of asserts that narrow an optional value, and of `Any` annotations per 1,000 lines."""
    texts = [path.read_text() for path in sorted(_RUNTIME.rglob("*.py"))]
    nodes = [node for text in texts for node in ast.walk(ast.parse(text))]
    lines = sum(len(text.splitlines()) for text in texts)
    return {
        "assert ... is not None": sum(1 for node in nodes if isinstance(node, ast.Assert) and _narrows(node.test)),
        "Any per 1,000 lines": 1000 * sum(1 for name in _names(nodes) if name == "Any") / lines,
    }


def _narrows(test: ast.expr) -> bool:
    return any(
        isinstance(each, ast.IsNot) for node in ast.walk(test) if isinstance(node, ast.Compare) for each in node.ops
    )


def _names(nodes: list[ast.AST]) -> Iterator[str]:
    return (node.id for node in nodes if isinstance(node, ast.Name))
