"""Which answer is whose: a question is recognised by its name or its value, never by its position.

An interrupt id has two parts. The first stands for the code that asks: a task's node, its routers, a function that it
calls. The second stands for the question: the name that it was given (`key=`) or the digest of its value, and how many
equal ones that code had asked before. So the order in which questions are asked means nothing, except among equals.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from durable_graph._engine.task import Answer

ID_DIGITS = 32
_CODE_DIGITS = 8


def interrupt_id(origin: bytes, ns: str, phase: str, question: str, nth: int) -> str:
    """32 hex digits for a question.

    `origin` is that of the thread and `ns` the namespace of the code that asks: a copy of the thread waits for the same
    questions. `question` is what `question_of` gives.
    """
    code = (origin.hex(), ns, phase)
    return _digest(code)[:_CODE_DIGITS] + _digest((*code, question, str(nth)))[: ID_DIGITS - _CODE_DIGITS]


def question_of(key: str | None, digest: bytes) -> str:
    """What a question is recognised by: its name, or the digest of its value."""
    return f"value:{digest.hex()}" if key is None else f"key:{key}"


def outdated_answer(id_: str, left: Iterable[Answer]) -> Answer | None:
    """The last answer that an unnamed question has missed, where it changes each time it is asked; None elsewhere.

    The question `id_` was not asked before. `left` are the answers that no question has claimed in this attempt. Once
    an answer may stay unclaimed, as after a deployment that changes a question. A second one says that no answer will
    ever reach this code. Where it had asked several at once, that many may wait for code that is slower this time.
    """
    own = [
        each
        for each in left
        if each.id[:_CODE_DIGITS] == id_[:_CODE_DIGITS] and not each.is_claimed and each.key is None
    ]
    return own[-1] if len(own) > max(1, _width(own)) else None


def _width(answers: Sequence[Answer]) -> int:
    return max((each.beside for each in answers), default=0)


def asked_at_once(id_: str, others: Iterable[str]) -> int:
    """How many of these questions the code that asked `id_` asked."""
    return sum(other[:_CODE_DIGITS] == id_[:_CODE_DIGITS] for other in others)


def _digest(fields: Iterable[str]) -> str:
    hashed = blake2b(digest_size=16, person=b"dg-interrupt-id")
    for field in fields:
        data = field.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(4, "big"))
        hashed.update(data)
    return hashed.hexdigest()
