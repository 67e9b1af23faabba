"""Puts bytes of one's own into a row of the SQLite file, with digests that fit. It knows the internals of today."""

import msgspec

from durable_graph.checkpointing import digests


def replace_value(store, stored, channel, data):
    """Replace what the newest row of a channel holds. `stored` is what `saver.load` gave before."""
    origin, checkpoint = stored.thread.origin, stored.checkpoint
    newest = {}
    for row in sorted(stored.values, key=lambda row: row.no):
        newest[row.channel] = row
    row = msgspec.structs.replace(newest[channel], value=data)
    row = newest[channel] = msgspec.structs.replace(row, digest=digests.value_digest(origin, "", row))
    checkpoint = msgspec.structs.replace(checkpoint, state_digest=digests.state_digest(newest.values()))
    checkpoint = msgspec.structs.replace(checkpoint, digest=digests.checkpoint_digest(origin, checkpoint))
    store.sql(
        "UPDATE channel_rows SET value = ?, digest = ? WHERE namespace = '' AND channel = ? AND number = ?",
        row.value,
        row.digest,
        channel,
        row.no,
    )
    store.sql(
        "UPDATE checkpoints SET state_digest = ?, digest = ? WHERE namespace = '' AND number = ?",
        checkpoint.state_digest,
        checkpoint.digest,
        checkpoint.no,
    )
