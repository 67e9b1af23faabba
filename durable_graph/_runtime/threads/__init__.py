"""Reading and editing threads from outside of a run."""
