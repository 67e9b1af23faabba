"""The graphs of an `App` in a service of aiohttp."""
