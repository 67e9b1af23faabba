"""The ids of parametrized tests, the same in every process that collects them."""

import re


def without_address(value: object) -> str:
    """The text of the value without its memory address."""
    return re.sub(r" at 0x[0-9a-f]+| id='[0-9]+'", "", str(value))
