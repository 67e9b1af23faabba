"""What a run tells its subscribers: typed events, sinks, streams and stream modes."""
