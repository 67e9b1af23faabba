"""One thread stores facts about a user, and the user's other threads read them."""

import asyncio
import json
from dataclasses import dataclass

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_store
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore

prompts: list[str] = []
model = GenericFakeChatModel(messages=iter(AIMessage(f"reply {n}") for n in range(20)))


@dataclass
class Context:
    user_id: str
    language: str = "en"


class State(MessagesState):
    remembered: list[str]


async def recall(state: State, runtime: Runtime[Context]):
    items = await runtime.store.asearch(("memories", runtime.context.user_id), limit=10)
    return {"remembered": sorted(item.value["text"] for item in items)}


async def answer(state: State, runtime: Runtime[Context]):
    system = f"[{runtime.context.language}] You know: {'; '.join(state['remembered']) or 'nothing'}"
    prompts.append(system)
    return {"messages": [await model.ainvoke([("system", system), *state["messages"]])]}


async def memorise(state: State, runtime: Runtime[Context]):
    text = state["messages"][-2].content
    if text.startswith("Remember:"):
        namespace = ("memories", runtime.context.user_id)
        await runtime.store.aput(namespace, f"note-{len(state['remembered'])}", {"text": text[10:], "kind": "note"})
    runtime.stream_writer({"user": runtime.context.user_id})


async def count(state: State, config: RunnableConfig):
    store = get_store()
    stats = await store.aget(("stats",), "runs")
    runs = (stats.value["runs"] if stats else 0) + 1
    await store.aput(("stats",), "runs", {"runs": runs, "thread": config["configurable"]["thread_id"]})
    return {}


builder = StateGraph(State, context_schema=Context)
builder.add_node(recall).add_node(answer)
builder.add_node(memorise).add_node(count)
builder.add_edge(START, "recall").add_edge("recall", "answer")
builder.add_edge("answer", "memorise").add_edge("memorise", "count")
store = InMemoryStore()
graph = builder.compile(checkpointer=InMemorySaver(), store=store)


async def say(text: str, thread: str, context: Context):
    config = {"configurable": {"thread_id": thread}}
    return await graph.ainvoke({"messages": [{"role": "user", "content": text}]}, config, context=context)


async def main():
    ada, bob = Context(user_id="ada"), Context(user_id="bob", language="fr")
    await say("Remember: I like tea", "1", ada)
    await say("Remember: I live in Bath", "1", ada)
    other_thread = await say("What do you know?", "2", ada)
    stranger = await say("What do you know?", "3", bob)
    found = await store.asearch(("memories",), filter={"kind": "note"})
    return {
        "other thread": other_thread["remembered"],
        "stranger": stranger["remembered"],
        "prompts": prompts,
        "store": sorted([*item.namespace, item.key, item.value["text"]] for item in found),
        "runs": (await store.aget(("stats",), "runs")).value,
        "namespaces": sorted(list(n) for n in await store.alist_namespaces()),
    }


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
