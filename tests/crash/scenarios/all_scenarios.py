"""The scenarios that are lived through: short ones of a part of the language each, and one of all of it."""

from tests.crash.scenarios.everything import EVERYTHING
from tests.crash.scenarios.graphs import COMMANDS, DEFERRED, EDITS, FAILURES, GUARDED, QUESTIONS
from tests.crash.scenarios.nested_graphs import MEMORY, NESTED, SIDE_BY_SIDE
from tests.crash.scenarios.workflows import PREVIOUS, WORKFLOW

SHORT_SCENARIOS = (
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
SCENARIOS = (*SHORT_SCENARIOS, EVERYTHING)
