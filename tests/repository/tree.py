"""The files of the repository, and copies of them to change."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "durable_graph": ROOT / "durable_graph",
    "durable_graph_sqlite": ROOT / "backends/durable_graph_sqlite",
    "durable_graph_postgres": ROOT / "backends/durable_graph_postgres",
    "durable_graph_langchain": ROOT / "integrations/durable_graph_langchain",
    "durable_graph_http": ROOT / "integrations/durable_graph_http",
    "durable_graph_fastapi": ROOT / "integrations/durable_graph_fastapi",
    "durable_graph_aiohttp": ROOT / "integrations/durable_graph_aiohttp",
}


def tracked_files() -> list[Path]:
    """Every file that git tracks and that still exists."""
    # `git` is taken from the search path: every developer has another.
    ran = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    return [path for name in ran.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def library_modules() -> list[Path]:
    """Every Python file that users install."""
    return sorted(path for package in PACKAGES.values() for path in package.rglob("*.py"))


def readme_programs() -> list[str]:
    """The blocks of the README that are complete programs."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block.endswith("asyncio.run(main())\n")]


def copy_library(target: Path) -> None:
    """Copy the sources of a wheel to a folder, to change or to build them there."""
    without_caches = shutil.ignore_patterns("__pycache__", ".*")
    for folder in ("durable_graph", "backends", "integrations"):
        shutil.copytree(ROOT / folder, target / folder, ignore=without_caches)
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, target / file)
