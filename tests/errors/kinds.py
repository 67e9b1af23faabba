"""The kind of an error, for tests that expect one."""

from collections.abc import Callable


def of_kind(kind: str | None) -> Callable[[object], bool]:
    """A check for `pytest.raises`: the error is of this kind. An error whose class has no kinds has the kind None."""

    def is_of_kind(error: object) -> bool:
        return getattr(error, "kind", None) == kind

    return is_of_kind
