"""The events of a run: typed events, sinks, streams and stream modes."""
