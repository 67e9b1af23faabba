"""What does a run cost that a client waits for over HTTP, beside the run itself and an empty route?"""
