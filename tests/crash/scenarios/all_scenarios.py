"""The scenarios: short ones that each use a part of the language, and one that uses all of it."""

from tests.crash.scenarios.everything import EVERYTHING
from tests.crash.scenarios.graphs import COMMANDS, DEFERRED, EDITS, FAILURES, GUARDED, QUESTIONS
from tests.crash.scenarios.nested_graphs import MEMORY, NESTED, PARALLEL
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
    PARALLEL,
    WORKFLOW,
    PREVIOUS,
)
SCENARIOS = (*SHORT_SCENARIOS, EVERYTHING)
