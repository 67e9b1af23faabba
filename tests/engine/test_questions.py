"""Whose answer is whose: by the name or the value of the question, and equal ones by their order."""

from durable_graph._engine.questions import interrupt_id, outdated_answer, question_of
from durable_graph._engine.task import Answer

FIRST, SECOND = question_of(None, b"first"), question_of(None, b"second")


def id_of(question: str = FIRST, nth: int = 0, ns: str = "node:1.0") -> str:
    return interrupt_id(b"origin", ns, "node", question, nth)


def answered(question: str, *, beside: int = 1, is_claimed: bool = False, key: str | None = None) -> Answer:
    return Answer(id_of(question), "yes", b"yes", question, key, beside, is_claimed)


def test_a_questions_id_is_of_its_code_and_its_value_and_of_where_its_thread_began() -> None:
    # Not of the thread's name: a copy of the thread waits for the same questions.
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


def test_a_name_takes_the_place_of_the_value() -> None:
    assert question_of("sure", b"first") == question_of("sure", b"second")
    assert question_of("sure", b"first") != question_of("really", b"first")
    assert question_of(None, b"first") != question_of(None, b"second")


def test_one_answer_may_miss_its_question() -> None:
    assert outdated_answer(id_of(SECOND), [answered(FIRST)]) is None


def test_a_second_answer_that_misses_its_question_tells_that_the_question_changes() -> None:
    last = answered("value:2")

    assert outdated_answer(id_of("value:3"), [answered("value:1"), last]) is last


def test_answers_that_have_reached_their_question_once_are_none_that_missed_it() -> None:
    left = [answered("value:1", is_claimed=True), answered("value:2")]

    assert outdated_answer(id_of("value:3"), left) is None


def test_answers_to_named_questions_are_none_that_missed_them() -> None:
    left = [answered("value:1", key="one"), answered("value:2", key="two")]

    assert outdated_answer(id_of("value:3"), left) is None


def test_answers_of_other_code_say_nothing_of_a_question() -> None:
    left = [answered("value:1"), answered("value:2")]

    assert outdated_answer(id_of("value:3", ns="node:2.0"), left) is None


def test_questions_that_were_asked_at_once_may_all_wait_for_their_code() -> None:
    left = [answered(f"value:{number}", beside=3) for number in range(3)]

    assert outdated_answer(id_of("value:9"), left) is None
    assert outdated_answer(id_of("value:9"), [*left, answered("value:4", beside=3)]) is not None
