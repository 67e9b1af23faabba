"""The superstep, pure: plan, apply, admit, task ids, and their rows. No async, no clock, no drawn ids, no store."""
