"""A service around one graph: the desk of a shop, at which a person approves orders. See examples/README.md."""
