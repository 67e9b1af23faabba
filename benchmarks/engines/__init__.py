"""Two engines of the project's own, to compare with: what is reachable with asyncio, msgspec and the same drivers."""
