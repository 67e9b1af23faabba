"""The state of an agent: its messages, and the keys that its nodes use among themselves."""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import field, is_dataclass, make_dataclass
from typing import Annotated, Any, Final, NotRequired, TypedDict

from langchain_core.messages import AIMessage, BaseMessage, ToolCall, ToolMessage
from pydantic import BaseModel, create_model

from durable_graph import EphemeralValue, RemainingSteps, add_messages
from durable_graph_langchain.errors import InvalidAgentError, UnansweredToolCallsError

MESSAGES: Final = "messages"
LLM_INPUT: Final = "llm_input_messages"
STRUCTURED: Final = "structured_response"


class AgentState(TypedDict):
    """The state of an agent. Subclasses add keys."""

    messages: Annotated[list[BaseMessage], add_messages]
    remaining_steps: NotRequired[RemainingSteps]


_LlmInput: Any = Annotated[list[BaseMessage], EphemeralValue]


def state_of(state_schema: Any, answer: Any) -> Any:
    """The class of the state: the given class, or `AgentState`, with a key for the answer of a response format.

    Raises `InvalidAgentError` for a class that lacks a key.
    """
    if state_schema is None:
        return AgentState if answer is None else _extended(AgentState, {STRUCTURED: NotRequired[answer]})
    wanted = {MESSAGES} if answer is None else {MESSAGES, STRUCTURED}
    missing = wanted - _keys_of(state_schema)
    if missing:
        raise InvalidAgentError(
            f"state_schema {state_schema.__name__} lacks the key {', '.join(map(repr, sorted(missing)))}"
        )
    return state_schema


def with_llm_input(state: Any) -> Any:
    """The input class of the node that calls the model, with the key that `pre_model_hook` writes for that node only.

    Raises `InvalidAgentError` for a state that cannot be extended.
    """
    name = f"{state.__name__}WithInput"
    if LLM_INPUT in _keys_of(state):
        return state
    if typing.is_typeddict(state):
        return _extended(state, {LLM_INPUT: NotRequired[_LlmInput]})
    optional: Any = Annotated[list[BaseMessage] | None, EphemeralValue]
    if issubclass(state, BaseModel):
        return create_model(name, __base__=state, llm_input_messages=(optional, None))
    if is_dataclass(state):
        bases: tuple[Any, ...] = (state,)
        return make_dataclass(name, [(LLM_INPUT, optional, field(default=None))], bases=bases, kw_only=True)
    raise InvalidAgentError(f"pre_model_hook needs a state_schema with the key {LLM_INPUT!r}, or a TypedDict")


def _keys_of(schema: Any) -> set[str]:
    return set(typing.get_type_hints(schema))


def _extended(schema: Any, keys: Mapping[str, Any]) -> Any:
    hints = {**typing.get_type_hints(schema, include_extras=True), **keys}
    return TypedDict(schema.__name__, hints)  # type: ignore[operator]  # its keys are not known before


def read(state: Any, key: str, default: Any = None) -> Any:
    """The value of a state's key, for any class of state."""
    return state.get(key, default) if isinstance(state, Mapping) else getattr(state, key, default)


# Reading messages


def last_ai_message(messages: Sequence[Any]) -> AIMessage | None:
    """The newest message of the model."""
    return next((each for each in reversed(messages) if isinstance(each, AIMessage)), None)


def pending_calls(messages: Sequence[Any]) -> list[ToolCall]:
    """The unanswered calls of the model's newest message."""
    message = last_ai_message(messages)
    answered = {each.tool_call_id for each in messages if isinstance(each, ToolMessage)}
    return [] if message is None else [call for call in message.tool_calls if call["id"] not in answered]


def check_answered(messages: Sequence[Any]) -> None:
    """Raise `UnansweredToolCallsError` if a call has no answer."""
    answered = {each.tool_call_id for each in messages if isinstance(each, ToolMessage)}
    left = {
        str(call["id"]): message.id
        for message in messages
        if isinstance(message, AIMessage)
        for call in message.tool_calls
        if call["id"] not in answered
    }
    if left:
        raise UnansweredToolCallsError(left)
