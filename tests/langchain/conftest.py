"""A fixture that closes a saver and opens it again, as another process would. The first graph is made here, so that the
entry points of installed packages are not read in the event loop of a test."""

from langchain_core.runnables import RunnableLambda

from tests.langchain.models import one_node
from tests.language.state.conftest import Reopen, reopen

__all__ = ["Reopen", "reopen"]

one_node(RunnableLambda(lambda state: state))
