"""Reading and editing threads outside of a run."""
