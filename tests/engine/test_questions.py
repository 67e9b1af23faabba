"""Matching of answers to interrupts: by the name or the value of an interrupt, and by order among equal interrupts."""

from durable_graph._engine.questions import interrupt_id, outdated_answer, question_of
from durable_graph._engine.task import Answer

FIRST, SECOND = question_of(None, b"first"), question_of(None, b"second")


def id_of(question: str = FIRST, nth: int = 0, ns: str = "node:1.0") -> str:
    return interrupt_id(b"origin", ns, "node", question, nth)


def answered(question: str, *, beside: int = 1, is_claimed: bool = False, key: str | None = None) -> Answer:
    return Answer(id_of(question), "yes", b"yes", question, key, beside, is_claimed)


def test_an_interrupt_id_depends_on_its_code_its_value_and_the_origin_of_its_thread() -> None:
    # The id does not depend on the thread id: a copy of the thread has the same pending interrupts.
    asked = id_of()

    assert len(asked) == 32
    others = [
        interrupt_id(b"other", "node:1.0", "node", FIRST, 0),
        interrupt_id(b"origin", "node:2.0", "node", FIRST, 0),
        interrupt_id(b"origin", "node:1.0", "router", FIRST, 0),
        id_of(SECOND),
        id_of(nth=1),
    ]
    assert len({asked, *others}) == 6


def test_a_named_interrupt_is_identified_by_its_name_and_not_by_its_value() -> None:
    assert question_of("sure", b"first") == question_of("sure", b"second")
    assert question_of("sure", b"first") != question_of("really", b"first")
    assert question_of(None, b"first") != question_of(None, b"second")


def test_one_unclaimed_answer_is_allowed() -> None:
    assert outdated_answer(id_of(SECOND), [answered(FIRST)]) is None


def test_a_second_unclaimed_answer_shows_that_the_interrupt_changes_at_each_attempt() -> None:
    last = answered("value:2")

    assert outdated_answer(id_of("value:3"), [answered("value:1"), last]) is last


def test_claimed_answers_do_not_count_as_unclaimed() -> None:
    left = [answered("value:1", is_claimed=True), answered("value:2")]

    assert outdated_answer(id_of("value:3"), left) is None


def test_answers_to_named_interrupts_do_not_count_as_unclaimed() -> None:
    left = [answered("value:1", key="one"), answered("value:2", key="two")]

    assert outdated_answer(id_of("value:3"), left) is None


def test_answers_of_other_code_do_not_count_as_unclaimed() -> None:
    left = [answered("value:1"), answered("value:2")]

    assert outdated_answer(id_of("value:3", ns="node:2.0"), left) is None


def test_answers_to_concurrent_interrupts_may_all_be_unclaimed() -> None:
    left = [answered(f"value:{number}", beside=3) for number in range(3)]

    assert outdated_answer(id_of("value:9"), left) is None
    assert outdated_answer(id_of("value:9"), [*left, answered("value:4", beside=3)]) is not None
