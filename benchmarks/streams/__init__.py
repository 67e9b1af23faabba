"""Many open readers of runs over HTTP: their memory, their CPU, and readers that stall."""
