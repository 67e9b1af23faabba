"""Values to bytes and back, by declared type."""

from durable_graph.codec.codec import Codec, TypeCodec

__all__ = ["Codec", "TypeCodec"]
