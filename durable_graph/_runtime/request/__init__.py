"""A call as data: its options and output, namespaces, control flow and cancellation."""
