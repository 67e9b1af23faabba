"""Encoding values to bytes and decoding them, by declared type."""

from durable_graph.codec.codec import Codec, Listed, TypeCodec
from durable_graph.codec.registry import FindStored, Upcast
from durable_graph.codec.stored_type import StoredType

__all__ = ["Codec", "FindStored", "Listed", "StoredType", "TypeCodec", "Upcast"]
