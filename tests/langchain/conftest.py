"""A saver that is closed and opened again, as in another process. And what packages bring is read here, where the first
graph is made, and not in the event loop of a test."""

from langchain_core.runnables import RunnableLambda

from tests.langchain.models import one_node
from tests.language.state.conftest import Reopen, reopen

__all__ = ["Reopen", "reopen"]

one_node(RunnableLambda(lambda state: state))
