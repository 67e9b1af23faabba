"""The wheel that users install: its packages work without the source tree."""

import email
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.repository.tree import PACKAGES, ROOT, copy_library, readme_programs

RUN_FROM_A_FILE = """
import asyncio, sys
import durable_graph, durable_graph_sqlite
from durable_graph import open_checkpointer

async def main():
    async with open_checkpointer("sqlite:///" + sys.argv[1]) as saver:
        assert await saver.list_threads() == []

asyncio.run(main())
print(durable_graph.__file__)
print(durable_graph_sqlite.__file__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel of this tree, built without the network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    copy_library(source)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    ran = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (built,) = target.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_packages_and_nothing_else_can_be_imported(wheel: zipfile.ZipFile) -> None:
    top = {name.split("/")[0] for name in wheel.namelist()}

    assert {name for name in top if not name.endswith(".dist-info")} == set(PACKAGES)


def test_every_file_of_the_packages_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    expected = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected
    assert {"durable_graph/py.typed", "durable_graph_sqlite/py.typed", "durable_graph_sqlite/schema.sql"} <= expected


def test_the_license_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    (license_file,) = [name for name in wheel.namelist() if name.endswith(".dist-info/licenses/LICENSE")]

    assert wheel.read(license_file).startswith(b"MIT License")


def required(wheel: zipfile.ZipFile) -> list[str]:
    """The requirements in the metadata of the wheel."""
    (metadata,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_bytes(wheel.read(metadata)).get_all("Requires-Dist", [])


def test_the_wheel_requires_five_packages_without_extras(wheel: zipfile.ZipFile) -> None:
    without_extras = {requirement.split(">")[0] for requirement in required(wheel) if "extra ==" not in requirement}

    assert without_extras == {"anyio", "cronsim", "msgspec", "typing-extensions", "tzdata"}


def run_unpacked(wheel: zipfile.ZipFile, folder: Path, program: str) -> list[str]:
    """The lines that a program prints if it has the content of the wheel and nothing else of this tree."""
    unpacked = folder / "unpacked"
    wheel.extractall(unpacked)
    # -S ignores the link by which this tree is installed; the folder of the dependencies is added instead.
    paths = f"import sys; sys.path[:0] = [{str(unpacked)!r}, {sysconfig.get_path('purelib')!r}]\n"
    command = [sys.executable, "-I", "-S", "-c", paths + program, str(folder / "runs.db")]

    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_the_packages_run_from_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    lines = run_unpacked(wheel, tmp_path, RUN_FROM_A_FILE)

    assert [Path(line).parents[1] for line in lines] == [tmp_path / "unpacked"] * 2


@pytest.mark.parametrize(
    ("extra", "asked"),
    [
        ("langchain", ["langchain-core>=1.0"]),
        ("cli", ["cyclopts>=5.4"]),
        ("fastapi", ["fastapi>=0.115", "sse-starlette>=3.3"]),
        ("aiohttp", ["aiohttp-sse>=2.2", "aiohttp>=3.10"]),
    ],
)
def test_an_extra_asks_for_few_packages(wheel: zipfile.ZipFile, extra: str, asked: list[str]) -> None:
    found = [requirement for requirement in required(wheel) if f"extra == '{extra}'" in requirement]

    assert found == [f"{each}; extra == '{extra}'" for each in asked]


@pytest.mark.parametrize("page", ["fastapi", "aiohttp"])
def test_the_service_of_a_page_runs_from_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path, page: str) -> None:
    code = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    program = next(block for block in re.findall(r"^```python\n(.*?)^```$", code, re.MULTILINE | re.DOTALL))
    # The module that runs is not the main program, which would serve.
    begin = f"__name__ = 'service'\nimport sys\nsys.modules[__name__] = sys.modules['__main__']\n{program}"

    lines = run_unpacked(wheel, tmp_path, f"{begin}\nimport durable_graph_{page}\nprint(durable_graph_{page}.__file__)")

    assert Path(lines[0]).parents[1] == tmp_path / "unpacked"


def test_the_agent_of_the_readme_runs_from_the_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    (agent,) = (program for program in readme_programs() if "create_react_agent" in program)

    lines = run_unpacked(
        wheel, tmp_path, f"{agent}\nimport durable_graph_langchain\nprint(durable_graph_langchain.__file__)"
    )

    assert lines[:2] == ["Pay 240 euros?", "['Pay for the hotel.', '', 'paid', 'The hotel is paid.']"]
    assert Path(lines[2]).parents[1] == tmp_path / "unpacked"
