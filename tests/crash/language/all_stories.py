"""The stories that are lived through: short ones of a part of the language each, and one of all of it."""

from tests.crash.language.everything import EVERYTHING
from tests.crash.language.graphs import COMMANDS, DEFERRED, EDITS, FAILURES, GUARDED, QUESTIONS
from tests.crash.language.nested import MEMORY, NESTED, SIDE_BY_SIDE
from tests.crash.language.workflows import PREVIOUS, WORKFLOW

SHORT_STORIES = (
    COMMANDS,
    QUESTIONS,
    DEFERRED,
    FAILURES,
    GUARDED,
    EDITS,
    NESTED,
    MEMORY,
    SIDE_BY_SIDE,
    WORKFLOW,
    PREVIOUS,
)
STORIES = (*SHORT_STORIES, EVERYTHING)
