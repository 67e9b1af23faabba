"""A node interrupts, the run stops, and `interrupt` returns the answer when the run is resumed."""

from typing import Any, TypedDict

from durable_graph import END, START, Checkpointer, Command, Durability, Interrupt, Send, StateGraph, interrupt
from tests.graphs import Nodes, State, chain, fan_out, interrupt_ids, interrupts_of, questions_of


async def test_the_result_of_an_interrupted_run_is_the_state_and_the_interrupt(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("before", nodes.noting("before")), ("ask", nodes.asking("ask", "sure?"))).compile(saver)

    result = await graph.ainvoke({"log": ["in"]}, thread_id="t", durability=durability)

    (question,) = interrupts_of(result)
    assert isinstance(question, Interrupt)
    assert question.value == "sure?"
    assert result == {"log": ["in", "before"], "__interrupt__": [question]}


async def test_interrupt_returns_the_answer(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(
        ("before", nodes.noting("before")), ("ask", nodes.asking("ask", "sure?")), ("after", nodes.noting("after"))
    ).compile(saver)
    await graph.ainvoke({}, thread_id="t", durability=durability)

    result = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)

    assert result == {"log": ["before", "ask:yes", "after"]}
    assert nodes.calls == {"before": 1, "ask": 2, "after": 1}
    assert (await graph.aget_state(thread_id="t")).next == ()


async def test_the_result_of_a_run_without_an_interrupt_lists_no_interrupts(saver: Checkpointer) -> None:
    nodes = Nodes()

    result = await chain(("a", nodes.noting("a"))).compile(saver).ainvoke({}, thread_id="t")

    assert "__interrupt__" not in result


async def test_interrupts_of_one_node_are_raised_one_at_a_time_and_answered_in_order(
    saver: Checkpointer, durability: Durability
) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "first?", "second?", "third?"))).compile(saver)

    results = [await graph.ainvoke({}, thread_id="t", durability=durability)]
    for answer in ("1", "2", "3"):
        results.append(await graph.ainvoke(Command(resume=answer), thread_id="t", durability=durability))

    assert [questions_of(result) for result in results] == [["first?"], ["second?"], ["third?"], []]
    assert results[-1]["log"] == ["ask:1,2,3"]


async def test_a_node_writes_nothing_to_the_state_before_its_last_interrupt_is_answered(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "first?", "second?"))).compile(saver)
    await graph.ainvoke({"log": []}, thread_id="t")

    await graph.ainvoke(Command(resume="1"), thread_id="t")

    assert (await graph.aget_state(thread_id="t")).values == {"log": []}
    await graph.ainvoke(Command(resume="2"), thread_id="t")
    assert (await graph.aget_state(thread_id="t")).values == {"log": ["ask:1,2"]}


async def test_a_loop_in_a_node_interrupts_until_the_answer_is_valid(
    saver: Checkpointer, durability: Durability
) -> None:
    class Person(TypedDict, total=False):
        age: int

    async def ask_age(state: Person) -> Person:
        question = "How old are you?"
        for _ in range(10):
            answer: str = interrupt(question)
            if answer.isdigit() and int(answer) >= 18:
                return {"age": int(answer)}
            question = f"{answer} will not do"
        raise AssertionError

    builder = StateGraph(Person)
    builder.add_node("ask", ask_age)
    builder.add_edge(START, "ask")
    graph = builder.compile(saver)

    results = [await graph.ainvoke({}, thread_id="t", durability=durability)]
    for answer in ("thirteen", "15", "19"):
        results.append(await graph.ainvoke(Command(resume=answer), thread_id="t", durability=durability))

    assert [questions_of(result) for result in results[:3]] == [
        ["How old are you?"],
        ["thirteen will not do"],
        ["15 will not do"],
    ]
    assert results[-1] == {"age": 19}


async def test_a_node_runs_once_and_once_more_for_each_of_its_answers(saver: Checkpointer) -> None:
    """Reference P19: a node starts over at every answer, and only then."""
    nodes = Nodes()
    questions = [f"{number}?" for number in range(7)]
    graph = chain(("ask", nodes.asking("ask", *questions))).compile(saver)

    result = await graph.ainvoke({}, thread_id="t")
    while "__interrupt__" in result:
        result = await graph.ainvoke(Command(resume="ok"), thread_id="t")

    assert nodes.calls == {"ask": len(questions) + 1}


async def test_several_interrupts_of_one_node_have_different_ids(saver: Checkpointer) -> None:
    """In LangGraph all of them had the same id (its issue 6626)."""
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "first?", "second?", "third?"))).compile(saver)

    result = await graph.ainvoke({}, thread_id="t")
    seen: list[str] = []
    while "__interrupt__" in result:
        (question,) = interrupts_of(result)
        seen.append(question.id)
        result = await graph.ainvoke(Command(resume={question.id: "ok"}), thread_id="t")

    assert len(set(seen)) == len(seen) == 3


async def test_all_parallel_nodes_interrupt_before_the_run_stops(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)

    assert questions_of(result) == ["a?", "b?"]
    assert len(set(interrupt_ids(result).values())) == 2
    answers = {id_: question.upper() for question, id_ in interrupt_ids(result).items()}
    done = await graph.ainvoke(Command(resume=answers), thread_id="t", durability=durability)
    assert done["log"] == ["a:A?", "b:B?"]
    assert nodes.calls == {"a": 2, "b": 2}


async def test_equal_interrupts_of_two_nodes_have_different_ids(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = fan_out(("a", nodes.asking("a", "sure?")), ("b", nodes.asking("b", "sure?"))).compile(saver)

    result = await graph.ainvoke({}, thread_id="t")

    first, second = interrupts_of(result)
    assert (first.value, second.value) == ("sure?", "sure?")
    assert first.id != second.id


async def test_every_send_to_one_node_has_its_own_interrupt(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()

    async def work(job: Any) -> State:
        nodes.calls[job] += 1
        return {"log": [f"{job}:{interrupt(job)}"]}

    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda _: [Send("work", job) for job in ("x", "y", "z")], ["work"])
    graph = builder.compile(saver)

    result = await graph.ainvoke({}, thread_id="t", durability=durability)

    assert questions_of(result) == ["x", "y", "z"]
    found = interrupt_ids(result)
    assert len(set(found.values())) == 3
    done = await graph.ainvoke(
        Command(resume={found["y"]: 2, found["z"]: 3, found["x"]: 1}), thread_id="t", durability=durability
    )
    assert done["log"] == ["x:1", "y:2", "z:3"]
    assert nodes.calls == {"x": 2, "y": 2, "z": 2}


async def test_nodes_that_ran_before_the_interrupt_do_not_run_again(
    saver: Checkpointer, durability: Durability
) -> None:
    class Sum(TypedDict, total=False):
        value: int
        answer: str

    calls: list[str] = []

    async def add(state: Sum) -> Sum:
        calls.append("add")
        return {"value": state["value"] + 1}

    async def double(state: Sum) -> Sum:
        calls.append("double")
        return {"value": state["value"] * 2}

    async def ask(state: Sum) -> Sum:
        return {"answer": interrupt(f"{state['value']} so far. What next?")}

    builder = StateGraph(Sum)
    builder.add_sequence([add, double, ask])
    builder.add_edge(START, "add")
    graph = builder.compile(saver)

    result = await graph.ainvoke({"value": 5}, thread_id="t", durability=durability)
    assert questions_of(result) == ["12 so far. What next?"]
    done = await graph.ainvoke(Command(resume="stop"), thread_id="t", durability=durability)

    assert done == {"value": 12, "answer": "stop"}
    assert calls == ["add", "double"]


async def test_the_number_of_interrupts_of_a_node_may_depend_on_the_state(saver: Checkpointer) -> None:
    class Survey(TypedDict, total=False):
        topics: list[str]
        answers: list[str]

    async def prepare(state: Survey) -> Survey:
        return {"topics": [f"topic {place}" for place, _ in enumerate(state["topics"])]}

    async def ask(state: Survey) -> Survey:
        return {"answers": [interrupt(f"{topic}?") for topic in state["topics"]]}

    builder = StateGraph(Survey)
    builder.add_sequence([prepare, ask])
    builder.add_edge(START, "prepare")
    graph = builder.compile(saver)

    result = await graph.ainvoke({"topics": ["a", "b"]}, thread_id="t")
    assert questions_of(result) == ["topic 0?"]
    result = await graph.ainvoke(Command(resume="zero"), thread_id="t")
    assert questions_of(result) == ["topic 1?"]
    result = await graph.ainvoke(Command(resume="one"), thread_id="t")

    assert result == {"topics": ["topic 0", "topic 1"], "answers": ["zero", "one"]}


async def test_sequential_nodes_may_each_interrupt(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    graph = chain(("a", nodes.asking("a", "a?")), ("b", nodes.asking("b", "b?"))).compile(saver)

    first = await graph.ainvoke({}, thread_id="t", durability=durability)
    second = await graph.ainvoke(Command(resume=1), thread_id="t", durability=durability)
    third = await graph.ainvoke(Command(resume=2), thread_id="t", durability=durability)

    assert (questions_of(first), questions_of(second)) == (["a?"], ["b?"])
    assert third == {"log": ["a:1", "b:2"]}


async def test_a_node_in_a_cycle_interrupts_in_each_iteration(saver: Checkpointer, durability: Durability) -> None:
    nodes = Nodes()
    builder = chain(("ask", nodes.asking("ask", "again?")))
    builder.add_conditional_edges("ask", lambda state: "ask" if state["log"][-1] == "ask:yes" else END, ["ask", END])
    graph = builder.compile(saver)

    first = await graph.ainvoke({}, thread_id="t", durability=durability)
    second = await graph.ainvoke(Command(resume="yes"), thread_id="t", durability=durability)
    third = await graph.ainvoke(Command(resume="no"), thread_id="t", durability=durability)

    assert (questions_of(first), questions_of(second)) == (["again?"], ["again?"])
    assert interrupt_ids(first) != interrupt_ids(second)
    assert third == {"log": ["ask:yes", "ask:no"]}


async def test_a_plain_function_interrupts_like_an_async_function(saver: Checkpointer) -> None:
    def ask(state: State) -> State:
        return {"log": [interrupt("sure?"), interrupt("really?")]}

    graph = chain(("ask", ask)).compile(saver)

    assert questions_of(await graph.ainvoke({}, thread_id="t")) == ["sure?"]
    assert questions_of(await graph.ainvoke(Command(resume="yes"), thread_id="t")) == ["really?"]
    assert await graph.ainvoke(Command(resume="yes!"), thread_id="t") == {"log": ["yes", "yes!"]}


async def test_a_function_that_a_node_calls_may_interrupt(saver: Checkpointer) -> None:
    async def approve(what: str) -> bool:
        return bool(interrupt({"approve": what}))

    async def node(state: State) -> State:
        return {"log": [str(await approve("a transfer"))]}

    graph = chain(("node", node)).compile(saver)

    result = await graph.ainvoke({}, thread_id="t")

    assert questions_of(result) == [{"approve": "a transfer"}]
    assert await graph.ainvoke(Command(resume=True), thread_id="t") == {"log": ["True"]}


async def test_a_node_may_return_a_command_after_an_interrupt(saver: Checkpointer) -> None:
    async def ask(state: State) -> Command[Any]:
        answer = interrupt("left or right?")
        return Command(update={"log": [answer]}, goto=answer)

    nodes = Nodes()
    builder = StateGraph(State)
    builder.add_node("ask", ask, destinations=("left", "right"))
    builder.add_node("left", nodes.noting("went left"))
    builder.add_node("right", nodes.noting("went right"))
    builder.add_edge(START, "ask")
    graph = builder.compile(saver)
    await graph.ainvoke({}, thread_id="t")

    assert await graph.ainvoke(Command(resume="right"), thread_id="t") == {"log": ["right", "went right"]}


async def test_interrupts_of_different_threads_are_answered_separately(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    first = await graph.ainvoke({}, thread_id="one")
    second = await graph.ainvoke({}, thread_id="two")

    assert interrupt_ids(first) != interrupt_ids(second)
    assert (await graph.ainvoke(Command(resume="2"), thread_id="two"))["log"] == ["ask:2"]
    assert questions_of((await graph.aget_state(thread_id="one")).interrupts) == ["sure?"]
    assert (await graph.ainvoke(Command(resume="1"), thread_id="one"))["log"] == ["ask:1"]


async def test_the_config_dict_names_the_thread_of_an_answer(saver: Checkpointer) -> None:
    nodes = Nodes()
    graph = chain(("ask", nodes.asking("ask", "sure?"))).compile(saver)
    config: dict[str, Any] = {"configurable": {"thread_id": "t"}}

    await graph.ainvoke({}, config)

    assert await graph.ainvoke(Command(resume="yes"), config) == {"log": ["ask:yes"]}
