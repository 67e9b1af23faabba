"""An error as text, for records, events and notes."""

from durable_graph.errors.tree import bounded

LONGEST = 10_000
"""How many characters of an error's text are kept."""


def shown(error: BaseException) -> str:
    """The error's repr, as `ValueError('text')`, as text that any store takes: lone surrogates are escaped.

    Where the repr does not have the error's message, the message is shown in its place. Of a text of more than LONGEST
    characters the first are kept, and how many it had.
    """
    try:
        text, message = repr(error), str(error)
        if message not in text and repr(message)[1:-1] not in text:
            text = f"{type(error).__name__}({message!r})"
    except Exception as broken:  # any class may have methods of its own, and the error matters more
        text = f"{type(error).__name__}, whose text cannot be made ({type(broken).__name__})"
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def add_note(error: BaseException, text: str) -> None:
    """Add a note to an error, as long as a message may be."""
    error.add_note(bounded(text))
