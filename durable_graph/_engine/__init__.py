"""The superstep as pure functions: plan, apply, admit, task ids, rows. No async, clock, random ids or store."""
