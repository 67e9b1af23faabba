"""An error as text, for records, events and notes."""

LONGEST = 10_000
"""How many characters of an error's text are kept."""


def shown(error: BaseException) -> str:
    """The error's class and message, as text that any store takes: lone surrogates are escaped.

    Of a text of more than LONGEST characters the first are kept, and how many it had.
    """
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception as broken:  # any class may have a `__str__` of its own, and the error matters more
        text = f"{type(error).__name__}, whose text cannot be made ({type(broken).__name__})"
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
