"""A run's side of the commit protocol: opening a thread, ordering commits, policies of durability."""
