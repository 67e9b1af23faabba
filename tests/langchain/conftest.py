"""A saver that is closed and opened again, as in another process."""

from tests.language.state.conftest import Reopen, reopen

__all__ = ["Reopen", "reopen"]
