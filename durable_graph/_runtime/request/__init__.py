"""What was asked, as data: one call and its options, namespaces, control flow and cancellation."""
