"""Effects: running nodes, waiting for the store, telling the caller. Read `drive.py` first."""
