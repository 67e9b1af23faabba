"""`make clients`: LangGraph's clients for JavaScript on real servers, one of each framework, on SQLite files.

Node's packages go into `node_modules` beside this file, with the versions of the lock file.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.services.engine.program import Form
from tests.services.engine.servers import FRAMEWORKS, Framework, served

FOLDER = Path(__file__).parent
OLDEST = 20
LIMIT = 120_000
"""Milliseconds until a test or a file of tests fails."""

_NEEDED = f"make clients needs Node.js {OLDEST} or newer and npm"


def main(arguments: list[str]) -> int:
    """Run the tests on each framework. `arguments` are for `node --test`. Returns an exit code."""
    node, npm = programs()
    install(npm)
    codes = [tested(node, framework, arguments) for framework in FRAMEWORKS]
    return max(codes)


def programs() -> tuple[str, str]:
    """The paths of node and npm. Raises `SystemExit` with the remedy where they are missing or too old."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing = [name for name, path in (("node", node), ("npm", npm)) if path is None]
        raise SystemExit(
            f"{_NEEDED}. Not on the search path: {', '.join(missing)}. Install the system's nodejs and npm"
        )
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST:
        raise SystemExit(f"{_NEEDED}. {node} is {version}: install a newer one, or put it first on the search path")
    return node, npm


def install(npm: str) -> None:
    """Install the packages of the lock file, unless they are there."""
    installed = FOLDER / "node_modules" / ".lock"
    lock = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    if installed.exists() and installed.read_text() == lock:
        return
    subprocess.run([npm, "ci", "--no-audit", "--no-fund"], cwd=FOLDER, check=True)
    installed.write_text(lock)


def tested(node: str, framework: Framework, arguments: list[str]) -> int:
    """Run the tests on a server of the framework. Returns the exit code of node."""
    print(f"== LangGraph's clients for JavaScript, {framework}", flush=True)
    tests = [] if any(each.endswith(".mjs") for each in arguments) else sorted(FOLDER.glob("*.test.mjs"))
    options = ["--test-reporter=spec", "--test-concurrency=1", f"--test-timeout={LIMIT}"]
    with tempfile.TemporaryDirectory() as folder:
        form = Form(folder=folder, store=f"sqlite:///{folder}/runs.db")
        with served(framework, form) as server:
            environment = {**os.environ, "SERVICE_URL": server.url, "SERVICE_FOLDER": folder}
            command = [node, "--test", *options, *arguments, *map(str, tests)]
            return subprocess.run(command, cwd=FOLDER, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
