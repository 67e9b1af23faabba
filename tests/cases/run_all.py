"""Run every case on every store, and print a table. Exit code 0 if none is wrong.

python -m tests.cases.run_all [memory] [sqlite] [postgres] [a] [c1] ...     stores, and beginnings of the cases' names
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).parent
KINDS = ("memory", "sqlite", "postgres")
MARKS = {0: "right", 1: "WRONG", 77: "-"}


def outcome(case: Path, kind: str) -> tuple[str, str]:
    command = [sys.executable, "-m", f"tests.cases.{case.stem}", kind]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=FOLDER.parents[1])
    except subprocess.TimeoutExpired:
        return "TIMEOUT", ""
    lines = done.stdout.splitlines()
    if done.returncode not in MARKS or (done.returncode != 77 and not lines):
        return "ERROR", (done.stderr.strip().splitlines() or [""])[-1]
    return MARKS[done.returncode], next((line for line in lines if line.startswith("actual")), "")


def main() -> int:
    wanted = [word for word in sys.argv[1:] if word not in KINDS]
    kinds = [kind for kind in KINDS if kind in sys.argv[1:]] or list(KINDS)
    cases = [case for case in FOLDER.glob("[a-z][0-9]*_*.py") if not wanted or case.name.startswith(tuple(wanted))]
    cases.sort(key=lambda case: (case.name[0], int(case.name[1:].split("_")[0]), case.name))
    with ThreadPoolExecutor(max(2, (os.cpu_count() or 2) // 2)) as pool:
        futures = {(case, kind): pool.submit(outcome, case, kind) for case in cases for kind in kinds}
    width = max(len(case.stem) for case in cases)
    print(f"{'case':{width}}", *(f"{kind:8}" for kind in kinds))
    bad, ran = set(), 0
    for case in cases:
        found = [futures[case, kind].result() for kind in kinds]
        ran += sum(mark != "-" for mark, _ in found)
        why = next((text for mark, text in found if mark not in ("right", "-")), "")
        if any(mark not in ("right", "-") for mark, _ in found):
            bad.add(case.stem)
        print(f"{case.stem:{width}}", *(f"{mark:8}" for mark, _ in found), why.removeprefix("actual:").strip()[:90])
    print(f"{len(cases)} cases, {ran} runs: {len(bad)} cases are wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
