"""One task: its input, the call of user code, and the outcome."""
