"""The answers that a task was given, while its code runs again."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from durable_graph._engine.questions import outdated_answer
from durable_graph._engine.task import Answer
from durable_graph.graph import Interrupt


class Answers(Mapping[str, object]):
    """The answers that a task of the thread's plan was given, by interrupt id, and what this attempt made of them.

    `asked` are the interrupts that it waited for, by id. All the code that is part of the task has these in common.
    """

    def __init__(self, given: Iterable[Answer] = (), asked: Iterable[Interrupt] = ()) -> None:
        self._given = {each.id: each for each in given} if given else {}
        self.asked: dict[str, Interrupt] = {each.id: each for each in asked}
        self._claimed: set[str] = set()

    def __getitem__(self, id_: str) -> object:
        return self._given[id_].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def claim(self, id_: str) -> object:
        """The answer to a question that was asked again."""
        self._claimed.add(id_)
        return self._given[id_].value

    def outdated(self, id_: str) -> Answer | None:
        """The last of the answers that never reached their question, where the question `id_` is a changed one."""
        left = [each for each in self._given.values() if each.id not in self._claimed]
        return None if id_ in self.asked else outdated_answer(id_, left)

    def kept(self) -> tuple[Answer, ...]:
        """The answers, as the next record of the task has them: those that reached their question say so."""
        return tuple(
            msgspec.structs.replace(each, is_claimed=True) if each.id in self._claimed else each
            for each in self._given.values()
        )


NO_ANSWERS = Answers()
"""Of an attempt that was given none: nothing can be claimed of them."""
