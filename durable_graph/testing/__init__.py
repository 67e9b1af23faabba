"""Shipped to users: what tests a saver, and what tests a graph on one."""
