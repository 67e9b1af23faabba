"""The flush is simulated where the platform allows it, and is never assumed to be simulated elsewhere."""

import shutil
import sys
from pathlib import Path

from benchmarks.flush import FLUSH_MICROSECONDS, MEMORY, Disk, is_simulated, with_simulated_flush

PROGRAM = """
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from benchmarks.flush import FLUSH_MICROSECONDS, disks, is_simulated
with disks() as found:
    times = {disk.flush: disk.flush_microseconds for disk in found}
assert is_simulated() == ("simulated" in times)
sys.exit(7 if times.get("simulated", 0) >= FLUSH_MICROSECONDS else 8)
"""


def test_a_flush_of_a_file_in_memory_is_delayed_if_a_compiler_is_installed() -> None:
    can_be = sys.platform == "linux" and shutil.which("cc") is not None and MEMORY.is_dir()

    assert with_simulated_flush(["-c", PROGRAM]) == (7 if can_be else 8)


def test_no_flush_is_simulated_without_the_preloaded_library(tmp_path: Path) -> None:
    assert not is_simulated()
    assert Disk("disk", tmp_path).flush_microseconds > 0
    assert FLUSH_MICROSECONDS > 0
