"""Puts chosen bytes into a row of the SQLite file, with digests that match. Depends on the current internals."""

import msgspec

from durable_graph.checkpointing import digests


def replace_value(store, stored, channel, data):
    """Replace the value in the newest row of a channel. `stored` is an earlier result of `saver.load`."""
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
