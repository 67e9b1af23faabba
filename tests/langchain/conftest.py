"""What packages bring is read where the first graph is made: here, and not in the event loop of a test."""

from langchain_core.runnables import RunnableLambda

from tests.langchain.models import one_node

one_node(RunnableLambda(lambda state: state))
