"""The graphs of an `App` in a service of aiohttp."""

from durable_graph_aiohttp.routes import AgentRoutes, agent_routes

__all__ = ["AgentRoutes", "agent_routes"]
