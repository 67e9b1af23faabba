"""A write that a reducer does not see."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Overwrite:
    """As a write to a channel: `value` takes the place of what the channel held before this superstep.

    What other nodes write to it in the same superstep is merged on top, in their order. Two in one superstep are an
    error. Where there is no reducer it is a plain write.
    """

    value: Any
