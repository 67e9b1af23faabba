"""A disk for databases of the benchmarks."""

from collections.abc import Iterator

import pytest

from benchmarks.flush import Disk, disks


@pytest.fixture(scope="session")
def disk() -> Iterator[Disk]:
    """The real disk: this process has no simulated flush."""
    with disks() as found:
        (only,) = found
        yield only
