"""The loop, and the tasks of one superstep."""
