"""A person decides about each payment: as proposed, with another amount, or not at all."""

import asyncio
import json
from typing import Literal

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

sent: list[dict] = []


def wants_to_pay(call_id: str, amount: int) -> AIMessage:
    call = {"name": "pay", "args": {"to": "Bob", "amount": amount}, "id": call_id, "type": "tool_call"}
    return AIMessage("", tool_calls=[call])


def make_graph():
    model = GenericFakeChatModel(messages=iter([wants_to_pay("p1", 100), AIMessage("Finished.")]))

    async def agent(state: MessagesState):
        return {"messages": [await model.ainvoke(state["messages"])]}

    def route(state: MessagesState) -> Literal["review", "__end__"]:
        return "review" if state["messages"][-1].tool_calls else END

    async def review(state: MessagesState) -> Command[Literal["pay", "agent"]]:
        last = state["messages"][-1]
        call = last.tool_calls[0]
        answer = interrupt({"question": "Is this correct?", "tool": call["name"], "args": call["args"]})
        if answer["action"] == "approve":
            return Command(goto="pay")
        if answer["action"] == "edit":
            edited = AIMessage(last.content, tool_calls=[{**call, "args": answer["args"]}], id=last.id)
            return Command(goto="pay", update={"messages": [edited]})
        refusal = ToolMessage(f"Rejected: {answer['reason']}", name=call["name"], tool_call_id=call["id"])
        return Command(goto="agent", update={"messages": [refusal]})

    async def pay(state: MessagesState):
        call = state["messages"][-1].tool_calls[0]
        sent.append(call["args"])
        return {"messages": [ToolMessage(f"Paid {call['args']['amount']}", name="pay", tool_call_id=call["id"])]}

    builder = StateGraph(MessagesState)
    builder.add_node(agent)
    builder.add_node(review)
    builder.add_node(pay)
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", route)
    builder.add_edge("pay", "agent")
    return builder.compile(checkpointer=InMemorySaver())


async def main():
    answers = {
        "approve": {"action": "approve"},
        "edit": {"action": "edit", "args": {"to": "Bob", "amount": 10}},
        "reject": {"action": "reject", "reason": "too much"},
    }
    outcomes = {}
    for name, answer in answers.items():
        graph = make_graph()
        config = {"configurable": {"thread_id": name}}
        paused = await graph.ainvoke({"messages": [("user", "Pay Bob.")]}, config)
        state = await graph.aget_state(config)
        before = len(sent)
        nodes = []
        async for update in graph.astream(Command(resume=answer), config, stream_mode="updates"):
            nodes.extend(update)
        final = await graph.aget_state(config)
        outcomes[name] = {
            "asked": paused["__interrupt__"][0].value,
            "waiting": [list(state.next), [i.value["tool"] for i in state.interrupts], len(state.tasks[0].interrupts)],
            "nodes": nodes,
            "paid": sent[before:],
            "messages": [[m.type, m.content] for m in final.values["messages"]],
            "calls": [c["args"] for m in final.values["messages"] if m.type == "ai" for c in m.tool_calls],
            "next": list(final.next),
        }
    return outcomes


if __name__ == "__main__":
    result = asyncio.run(main())
    print(json.dumps(result, sort_keys=True))
