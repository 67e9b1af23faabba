"""Interrupt ids, by which answers are matched: an interrupt is identified by its key or its value, never by position.

An interrupt id has two parts. The first identifies the code that raises it: a task's node, its routers, or a function
that it calls. The second identifies the question: its name (`key=`) or the digest of its value, and the number of equal
questions that the code asked before. So the order of interrupts does not matter, except among equals.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from durable_graph._engine.task import Answer

ID_DIGITS = 32
_CODE_DIGITS = 8


def interrupt_id(origin: bytes, ns: str, phase: str, question: str, nth: int) -> str:
    """The id of an interrupt: 32 hex digits.

    `origin` is the thread's, which a copy of the thread shares, so interrupts of a copy have the same ids. `ns` is the
    namespace of the code that asks. `question` is the result of `question_of`.
    """
    code = (origin.hex(), ns, phase)
    return _digest(code)[:_CODE_DIGITS] + _digest((*code, question, str(nth)))[: ID_DIGITS - _CODE_DIGITS]


def question_of(key: str | None, digest: bytes) -> str:
    """The identity of a question: its name, or the digest of its value."""
    return f"value:{digest.hex()}" if key is None else f"key:{key}"


def outdated_answer(id_: str, unclaimed: Iterable[Answer]) -> Answer | None:
    """The last unclaimed answer, if the unnamed question `id_` changes each time the code runs; else None.

    The question `id_` was not asked before. `unclaimed` are the answers that no question has claimed in this attempt.
    One unclaimed answer is allowed, as after a deployment that changes a question. A second one shows that no answer
    can ever reach this code. If the code asked several questions at once, that many answers may be unclaimed, because
    code that runs concurrently may ask later this time.
    """
    own = [
        each
        for each in unclaimed
        if each.id[:_CODE_DIGITS] == id_[:_CODE_DIGITS] and not each.is_claimed and each.key is None
    ]
    return own[-1] if len(own) > max(1, _width(own)) else None


def _width(answers: Sequence[Answer]) -> int:
    return max((each.beside for each in answers), default=0)


def asked_at_once(id_: str, others: Iterable[str]) -> int:
    """The number of these interrupts that the same code raised as `id_`."""
    return sum(other[:_CODE_DIGITS] == id_[:_CODE_DIGITS] for other in others)


def _digest(fields: Iterable[str]) -> str:
    hashed = blake2b(digest_size=16, person=b"dg-interrupt-id")
    for field in fields:
        data = field.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(4, "big"))
        hashed.update(data)
    return hashed.hexdigest()
