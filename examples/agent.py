"""An agent that outlives its process, even one that dies in the middle of a tool call, and asks before it pays.

python -m examples.agent
"""

import asyncio
import signal
import sys
from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from langchain_core.tools import tool

from durable_graph import Checkpointer, Command, CompiledGraph, interrupt
from durable_graph_langchain import AgentState, create_react_agent
from durable_graph_sqlite import SqliteSaver

FOR_EVER = 3600


def call(name: str, **args: Any) -> ToolCall:
    """What a model writes to have a tool called."""
    return ToolCall(name=name, args=args, id=f"call-{name}", type="tool_call")


SCRIPT = [
    AIMessage("", tool_calls=[call("find_hotel", city="Madrid"), call("book_seat", train="AVE 2")]),
    AIMessage("", tool_calls=[call("pay", amount=240)]),
    AIMessage("Your trip is booked and paid."),
]


def model(state: AgentState, _: Any) -> GenericFakeChatModel:
    """In place of a real model: says the next line of the script. It may be a chat model with its tools bound."""
    said = sum(isinstance(message, AIMessage) for message in state["messages"])
    return GenericFakeChatModel(messages=iter(SCRIPT[said:]))


@tool
async def find_hotel(city: str) -> str:
    """Find a hotel in a city. Has finished when the process dies, so it is not called again."""
    print("  find_hotel runs", flush=True)
    return {"Madrid": "hotel Sol"}[city]


@tool
def pay(amount: int) -> str:
    """Pay an amount of euros. The run waits here for a person, for as long as it takes."""
    answer = interrupt({"question": "Pay this?", "amount": amount})
    if answer != "yes":
        return f"refused: {answer}"
    print(f"  paid {amount}")
    return "paid"


def booking(seconds: float) -> Any:
    """The tool that is under way when the process dies. It is called again: `ToolRuntime` has an idempotency key."""

    @tool
    async def book_seat(train: str) -> str:
        """Book a seat on a train."""
        print("  book_seat runs", flush=True)
        await asyncio.sleep(seconds)
        return f"a seat on {train}"

    return book_seat


def agent(saver: Checkpointer, *, booking_takes: float = 0) -> CompiledGraph[Any, Any, Any, Any]:
    """The agent, with its threads in `saver`."""
    return create_react_agent(model, [find_hotel, booking(booking_takes), pay], checkpointer=saver, name="traveller")


async def begin() -> None:
    """The process that is killed."""
    async with SqliteSaver("agent.db") as saver:
        given = {"messages": [HumanMessage("Book me a trip to Madrid.")]}
        await agent(saver, booking_takes=FOR_EVER).ainvoke(given, thread_id="madrid")


async def kill_in_the_middle() -> None:
    """Begin in a process of its own, and kill that once one of the two tool calls is recorded."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "examples.agent", "begin")
    async with SqliteSaver("agent.db") as saver:
        graph = agent(saver)
        recorded: list[Any] = []
        while not recorded:
            if process.returncode is not None:
                sys.exit("The first process ended by itself.")
            await asyncio.sleep(0.05)
            tasks = (await graph.aget_state(thread_id="madrid")).tasks
            recorded = [task.result for task in tasks if task.name == "tools" and task.result]
    process.send_signal(signal.SIGKILL)
    await process.wait()
    print(f"Killed while book_seat runs. Recorded: {recorded[0]['messages'][0].content}")


async def go_on() -> None:
    """The next process: it is given no input, and finds where the agent was."""
    async with SqliteSaver("agent.db") as saver:
        result = await agent(saver).ainvoke(None, thread_id="madrid", version="v2")
    print(f"It asks: {result.interrupts[0].value}")


async def answer() -> None:
    """Yet another one."""
    async with SqliteSaver("agent.db") as saver:
        state = await agent(saver).ainvoke(Command(resume="yes"), thread_id="madrid")
    print(f"The end: {state['messages'][-1].content}")


if __name__ == "__main__":
    if sys.argv[1:] == ["begin"]:
        asyncio.run(begin())
    else:
        print("The first process:", flush=True)
        asyncio.run(kill_in_the_middle())
        print("The next process goes on:")
        asyncio.run(go_on())
        print("A person answers, days later:")
        asyncio.run(answer())
