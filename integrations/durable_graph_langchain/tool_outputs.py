"""The results of tools as the result of a node: validated for each call, then combined."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from langchain_core.messages import AnyMessage, RemoveMessage, ToolCall, ToolMessage, convert_to_messages

from durable_graph import REMOVE_ALL_MESSAGES, Command, InvalidUpdateError, Overwrite, Send
from durable_graph_langchain.errors import InvalidToolOutputError

Output: TypeAlias = ToolMessage | Command[Any]
Shape: TypeAlias = Literal["list", "dict"]
"""The state is a list of messages, or has messages under a key."""


def checked(output: Any, call: ToolCall, key: str, shape: Shape) -> list[Output]:
    """The parts of a tool's result for a call. Raises `InvalidToolOutputError`."""
    parts = output if isinstance(output, list) else [output]
    found: list[Output] = []
    for part in parts:
        if isinstance(part, Command):
            found.append(_checked_command(part, call, key, shape, has_answer=_answers(found, call)))
        elif isinstance(part, ToolMessage):
            found.append(part)
        else:
            why = f"{type(part).__qualname__}, where a ToolMessage, a Command or a list of these is expected"
            raise _wrong(call, why)
    return found


def _checked_command(
    command: Command[Any], call: ToolCall, key: str, shape: Shape, *, has_answer: bool
) -> Command[Any]:
    update = command.update
    if isinstance(update, dict) if shape == "list" else isinstance(update, list) and not _are_pairs(update):
        expected = "a list of messages, as its input is one" if shape == "list" else f"a dict with the key {key!r}"
        raise _wrong(call, f"a Command with an update that is a {type(update).__name__}; write {expected}")
    if shape == "dict" and not isinstance(update, dict):
        # The graph validates None, pairs and instances of the state's class.
        return command
    if update is None:
        return command
    messages = _messages_in(update if shape == "list" else update.get(key))
    if _removes_all(messages):
        return command
    for place, message in enumerate(messages):
        if isinstance(message, ToolMessage) and message.tool_call_id == call["id"]:
            messages[place] = message if message.name else message.model_copy(update={"name": call["name"]})
            has_answer = True
    if not has_answer and command.graph is None:
        why = (
            f"a Command whose update has no answer to the call; put "
            f"ToolMessage(..., tool_call_id={call['id']!r}) into its {key!r}"
        )
        raise _wrong(call, why)
    if shape == "list":
        return replace(command, update=messages)
    return replace(command, update={**update, key: _like(update[key], messages)}) if key in update else command


def _are_pairs(update: Sequence[Any]) -> bool:
    return all(isinstance(each, tuple) for each in update)


def _messages_in(given: Any) -> list[AnyMessage | Any]:
    value = given.value if isinstance(given, Overwrite) else given
    if value is None:
        return []
    return list(convert_to_messages(value if isinstance(value, list | tuple) else [value]))


def _like(given: Any, messages: list[Any]) -> Any:
    return Overwrite(messages) if isinstance(given, Overwrite) else messages


def _removes_all(messages: Iterable[Any]) -> bool:
    """Whether the tool rewrites the history, which then need not contain the call."""
    return any(isinstance(each, RemoveMessage) and each.id == REMOVE_ALL_MESSAGES for each in messages)


def _answers(parts: Iterable[Output], call: ToolCall) -> bool:
    return any(isinstance(part, ToolMessage) and part.tool_call_id == call["id"] for part in parts)


def _wrong(call: ToolCall, why: str) -> InvalidToolOutputError:
    return InvalidToolOutputError(call["name"], str(call["id"]), why)


# Together


def combined(outputs: Sequence[Output], key: str, shape: Shape) -> Any:
    """The node's result for the outputs of all calls, in the order of the calls."""
    commands = [each for each in outputs if isinstance(each, Command)]
    to_parent = [each for each in commands if each.graph == Command.PARENT]
    if to_parent:
        messages = [each for each in outputs if isinstance(each, ToolMessage)]
        return [_handed_over(to_parent, messages, key)]
    if not commands:
        return list(outputs) if shape == "list" else {key: list(outputs)}
    return [each if isinstance(each, Command) else ([each] if shape == "list" else {key: [each]}) for each in outputs]


def _handed_over(commands: Sequence[Command[Any]], messages: list[ToolMessage], key: str) -> Command[Any]:
    """A single Command to the parent graph, because this graph's run ends with it.

    If the Command has the history, the answers to the other calls are added: every provider refuses a history with an
    unanswered call. Other updates of those calls are for this graph, and are dropped.
    """
    if len(commands) == 1 and not (messages and isinstance(commands[0].update, dict | list | tuple)):
        return commands[0]
    goto: list[str | Send] = []
    pairs: list[tuple[str, Any]] = []
    for command in commands:
        goto.extend([command.goto] if isinstance(command.goto, str | Send) else command.goto)
        update = command.update
        if isinstance(update, dict):
            pairs.extend(update.items())
        elif isinstance(update, list | tuple):
            pairs.extend(update)
    if messages and any(name == key for name, _ in pairs):
        pairs.append((key, messages))
    targets = list(dict.fromkeys(goto)) if _are_names(goto) else goto
    return Command(graph=Command.PARENT, update=pairs, goto=targets, after=_common_delay(commands))


def _common_delay(commands: Iterable[Command[Any]]) -> Any:
    delays = [command.after for command in commands if command.goto]
    if any(delay != delays[0] for delay in delays):
        raise InvalidUpdateError(
            "several tools returned Commands to the parent graph with different values of after, and the graph ends "
            "with one Command: give their goto the same after, or Sends with after"
        )
    return delays[0] if delays else None


def _are_names(goto: Iterable[str | Send]) -> bool:
    return all(isinstance(each, str) for each in goto)
