"""A workflow of `@entrypoint` and `@task`: concurrent tasks, a retry, an interrupt, the value saved by the last run."""

import asyncio
import json

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import add_messages
from langgraph.types import Command, RetryPolicy, interrupt

model = GenericFakeChatModel(messages=iter([AIMessage("Essay on cats."), AIMessage("Essay on dogs.")]))
calls: list[str] = []
failures = iter([True, False, False, False])


@task
async def write_essay(messages: list[BaseMessage]) -> BaseMessage:
    calls.append("write_essay")
    return await model.ainvoke(messages)


@task(retry_policy=RetryPolicy(max_attempts=2, initial_interval=0.01, retry_on=ConnectionError))
async def check_facts(text: str) -> dict:
    calls.append("check_facts")
    if next(failures):
        raise ConnectionError("the library is closed")
    return {"ok": True, "length": len(text)}


@task
def count_words(text: str) -> int:
    calls.append("count_words")
    return len(text.split())


@entrypoint(checkpointer=InMemorySaver())
async def workflow(topic: str, *, previous: list[BaseMessage] | None = None) -> entrypoint.final:
    writer = get_stream_writer()
    messages = add_messages(previous or [], [HumanMessage(f"Write about {topic}")])
    essay = await write_essay(messages)
    writer({"drafted": essay.content})
    facts, words = await asyncio.gather(check_facts(essay.content), count_words(essay.content))
    review = interrupt({"essay": essay.content, "action": "Approve?"})
    messages = add_messages(messages, [essay, HumanMessage(review)])
    return entrypoint.final(
        value={"essay": essay.content, "facts": facts, "words": words, "review": review, "turns": len(messages)},
        save=messages,
    )


async def run(topic: str, review: str, config: dict) -> dict:
    calls.clear()
    custom, questions = [], []
    async for mode, chunk in workflow.astream(topic, config, stream_mode=["custom", "updates"]):
        if mode == "custom":
            custom.append(chunk)
        elif "__interrupt__" in chunk:
            questions.extend(i.value for i in chunk["__interrupt__"])
    before = sorted(calls)
    calls.clear()
    value = await workflow.ainvoke(Command(resume=review), config)
    return {"custom": custom, "questions": questions, "calls": before, "calls after": list(calls), "value": value}


async def main():
    config = {"configurable": {"thread_id": "essays"}}
    first = await run("cats", "good", config)
    second = await run("dogs", "better", config)
    state = await workflow.aget_state(config)
    return {"first": first, "second": second, "next": list(state.next)}


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
