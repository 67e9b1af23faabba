"""Real work, really killed: `python -m examples.kill_demo [FOLDER]`. The story is told in `__main__`."""
