"""`MemorySaver.runs`: the runs of the saver's threads, and the leases of the workers that execute them."""

import heapq
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import msgspec

from durable_graph.checkpointing import rules, run_busy, run_rules, run_sweep
from durable_graph.checkpointing.columns import key_of, next_column
from durable_graph.checkpointing.digests import request_digest
from durable_graph.checkpointing.memory_claims import claimed, has_moved, place
from durable_graph.checkpointing.memory_lock import alone
from durable_graph.checkpointing.memory_parents import send_end
from durable_graph.checkpointing.memory_rows import RunRows, StoredRun, ThreadRows
from durable_graph.checkpointing.memory_run_reads import Lease, MemoryRunReads
from durable_graph.checkpointing.run_changes import heartbeat_of
from durable_graph.records import RequestRow
from durable_graph.run_records import (
    NEVER,
    UPDATES,
    Accepted,
    Claim,
    Discarded,
    Heartbeat,
    NewMessage,
    NewRun,
    NewWorker,
    RunState,
    Sent,
    Settlement,
    Swept,
)


class MemoryRuns(MemoryRunReads):
    """The runs of a `MemorySaver`. See `RunStore`.

    Leases count the time of the process, and times when runs are due are those of the wall clock. `skew` is added to
    the wall clock, and `lease_skew` to that of leases, in microseconds: tests move them.
    """

    # One run

    @alone
    async def accept(self, run: NewRun) -> Accepted:
        """See `RunStore.accept`."""
        return self._accept(run)

    @alone
    async def accept_and_claim(self, run: NewRun, worker: int) -> tuple[Accepted, Claim | None]:
        """See `RunStore.accept_and_claim`."""
        accepted, now = self._accept(run), self._now()
        found = self._found(run.thread, accepted.seq)
        is_first = accepted.is_new and accepted.state is RunState.READY and not run.limit_key
        if found is None or not (is_first and run_rules.is_claimable(found[1], now) and self._is_alive(worker)):
            return accepted, None
        claim = claimed(*found, worker, now)
        return msgspec.structs.replace(accepted, state=RunState.RUNNING), claim

    def _accept(self, run: NewRun) -> Accepted:
        key, now = key_of(run.thread), self._now()
        found = self._threads.get(key)
        living = found if found is not None and found.row.status != "deleted" else None
        if living is not None:
            refused = _earlier(run, living)
            if refused is not None:
                return refused
        else:
            row = rules.accepted_thread(run, None if found is None else found.row, now)
            living = self._threads[key] = ThreadRows(row, runs=RunRows(found.runs.last if found else 0))
        unfinished = living.runs.first()
        way = run_busy.Way(living.row, is_free=unfinished is None, from_checkpoint=None)
        if unfinished is not None and run.if_busy == "reject":
            return Accepted(0, is_new=False, state=unfinished.state, busy_seq=unfinished.seq)
        if unfinished is not None and run.if_busy != "wait":
            made = self._make_way(run, living, now)
            if made is None:
                before = unfinished.first_checkpoint
                return Accepted(0, is_new=False, state=unfinished.state, lost_before=before)
            way = made
        seq = living.runs.last = run_rules.next_seq(living.runs.last, now)
        if run.key is not None:
            request = RequestRow(run.key, run.input_digest, seq, 0, now, b"")
            digest = request_digest(living.row.origin, request)
            living.requests[run.key] = msgspec.structs.replace(request, digest=digest)
        state, inbox = (RunState.READY if way.is_free else RunState.BLOCKED), living.runs.inbox
        accepted = run_rules.accepted_run(
            run,
            seq,
            state,
            now,
            inbox=len(inbox.waiting),
            from_checkpoint=way.from_checkpoint,
            has_updates=inbox.has_updates,
        )
        living.runs.put(StoredRun(accepted, run.input, run.options, run.context, run.token, limit_key=run.limit_key))
        return Accepted(seq, is_new=True, state=state, input_digest=run.input_digest)

    def _make_way(self, run: NewRun, living: ThreadRows, now: int) -> run_busy.Way | None:
        """As `run_transactions.accept` makes way. See `run_busy.way_for`."""
        unfinished = [living.runs.by_seq[seq].row for seq in living.runs.unfinished]
        parent, first = 0, unfinished[0].first_checkpoint
        if run.if_busy == "rollback" and first:
            began = living.checkpoint("", first)
            if began is None or not run_busy.can_be_rolled_back_to(began.parent, living.row.floor):
                return None
            parent = began.parent
        way = run_busy.way_for(run, living.row, unfinished, parent, now)
        # In reverse order, so that none of these runs becomes ready meanwhile.
        for each in reversed(unfinished):
            if each.state is RunState.RUNNING:
                living.runs.change(run_rules.asked_to_cancel(each, run_busy.reason_of(run)))
            else:
                living.runs.update(run_rules.cancelled(each, run_busy.reason_of(run)), now)
                send_end(self._threads, living, each.seq, now)
        living.row = way.thread
        return way

    @alone
    async def settle(self, settlement: Settlement) -> bool:
        """See `RunStore.settle`."""
        found, now = self._found(settlement.thread, settlement.seq), self._now()
        if found is None:
            return False
        stored, run = found
        if not run_rules.is_held(run, settlement):
            return run_rules.was_settled(run, settlement)
        stored.runs.update(run_rules.settled(settlement, now), now)
        send_end(self._threads, stored, run.seq, now)
        epoch = rules.drawn_incarnation()
        stored.row = run_rules.thread_after_settlement(stored.row, run, settlement, epoch, now)
        return True

    @alone
    async def cancel_run(self, thread: str, seq: int, reason: str) -> RunState | None:
        """See `RunStore.cancel_run`."""
        found, now = self._found(thread, seq), self._now()
        if found is None:
            return None
        stored, run = found
        if run.state == RunState.RUNNING:
            stored.runs.change(run_rules.asked_to_cancel(run, reason))
        if run.state == RunState.RUNNING or run.state.is_ended:
            return run.state
        stored.runs.update(run_rules.cancelled(run, reason), now)
        send_end(self._threads, stored, run.seq, now)
        stored.row = run_rules.thread_after_cancel(stored.row, run, rules.drawn_incarnation(), now)
        return RunState.CANCELLED

    @alone
    async def retry_run(self, thread: str, seq: int) -> RunState | None:
        """See `RunStore.retry_run`."""
        found, now = self._found(thread, seq), self._now()
        if found is None:
            return None
        stored, run = found
        if not run_rules.can_be_retried(run, max(stored.runs.by_seq)):
            return run.state
        state = RunState.READY if stored.runs.first() is None else RunState.BLOCKED
        stored.runs.change(run_rules.retried(run, state, now, has_updates=stored.runs.inbox.has_updates))
        if run_rules.reopens_thread(state, stored.row):
            stored.row = rules.reopened_thread(stored.row, now)
        return state

    @alone
    async def send(self, message: NewMessage) -> Sent:
        """See `RunStore.send`."""
        found = self._threads.get(key_of(message.thread))
        if found is None or found.row.status == "deleted":
            return Sent.NO_THREAD
        if (message.topic, message.key) in found.runs.inbox.keys:
            return Sent.KNOWN
        if found.runs.first() is None:
            return Sent.CANCELLED if found.row.status == "cancelled" else Sent.NO_RUN
        now = self._now()
        # A number of the thread's runs: it is not used again once the message is deleted.
        seq = found.runs.last = run_rules.next_seq(found.runs.last, now)
        found.runs.inbox.put(seq, message)
        found.runs.wake(now)
        if message.topic == UPDATES:
            found.runs.ask_to_apply_updates()
        return Sent.NEW

    @alone
    async def discard(self, thread: str, topic: str, key: str) -> Discarded:
        """See `RunStore.discard`."""
        found = self._threads.get(key_of(thread))
        if found is None or found.row.status == "deleted":
            return Discarded.NO_THREAD
        discarded = found.runs.discard(topic, key, self._now())
        if discarded is Discarded.DISCARDED:
            found.row = msgspec.structs.replace(found.row, epoch=rules.drawn_incarnation())
        return discarded

    # Upkeep

    @alone
    async def delete_ended(self, *, keep: int, limit: int = 50) -> int:
        """See `RunStore.delete_ended`."""
        rules.check_limit(limit)
        before = self._now() - keep
        ended = (
            (run.row, stored)
            for stored in self._threads.values()
            for run in stored.runs.by_seq.values()
            if run_rules.is_expired(run.row, before)
        )
        first = heapq.nsmallest(limit, ended, key=lambda found: (found[0].ended_at, found[0].thread, found[0].seq))
        for run, stored in first:
            stored.delete_run(run.seq)
            stored.runs.inbox.forget(before)
        return len(first)

    @alone
    async def delete_run(self, thread: str, seq: int) -> RunState | None:
        """See `RunStore.delete_run`."""
        found = self._found(thread, seq)
        if found is None:
            return None
        stored, run = found
        if run_rules.is_expired(run, NEVER):
            stored.delete_run(seq)
        return run.state

    @alone
    async def fail_overdue(self, *, limit: int = 50) -> list[tuple[str, int]]:
        """See `RunStore.fail_overdue`."""
        rules.check_limit(limit)
        now = self._now()
        rows = ((run.row, stored) for stored in self._threads.values() for run in stored.runs.by_seq.values())
        overdue = [(row, stored) for row, stored in rows if run_rules.is_overdue(row, now)]
        first = heapq.nsmallest(limit, overdue, key=lambda found: (found[0].deadline, found[0].thread, found[0].seq))
        for run, stored in first:
            # As it is now: the failure of a run before it may have made it ready.
            row = stored.runs.by_seq[run.seq].row
            stored.runs.update(run_rules.failed_by_deadline(row), now)
            send_end(self._threads, stored, row.seq, now)
            stored.row = run_rules.thread_after_deadline(stored.row, row, rules.drawn_incarnation(), now)
        return [(run.thread, run.seq) for run, _ in first]

    @alone
    async def repair(self, *, limit: int = 50) -> int:
        """See `RunStore.repair`."""
        rules.check_limit(limit)
        now, count = self._now(), 0
        for stored in self._threads.values():
            unread = [message.topic for message in stored.runs.inbox.waiting.values()]
            for seq in list(stored.runs.unfinished):
                run = stored.runs.by_seq[seq].row
                is_first = seq == stored.runs.unfinished[0]
                if count < limit and run_rules.is_stuck(run, unread, is_first=is_first):
                    stored.runs.change(run_rules.repaired(run, now))
                    count += 1
        return count

    # Workers

    @alone
    async def register(self, worker: NewWorker) -> None:
        """See `RunStore.register`."""
        self._workers[worker.id] = Lease(self._lease_now() + worker.ttl, worker.name, worker.queues)

    @alone
    async def heartbeat(self, worker: int, ttl: int) -> Heartbeat | None:
        """See `RunStore.heartbeat`."""
        if not self._is_alive(worker):
            return None
        self._workers[worker] = msgspec.structs.replace(self._workers[worker], until=self._lease_now() + ttl)
        held = self._runs_of(worker)
        return heartbeat_of((run.thread, run.seq, run.request, of.runs.followed.get(run.seq, 0)) for of, run in held)

    @alone
    async def claim(self, worker: int, queues: Sequence[str], most: int) -> list[Claim]:
        """See `RunStore.claim`."""
        if not self._is_alive(worker):
            return []
        now = self._now()
        due = [found for found in self._first_runs(queues) if run_rules.is_claimable(found[1], now)]
        first = heapq.nsmallest(most, due, key=lambda found: (found[1].priority, found[1].due, found[1].thread))
        return [claimed(stored, run, worker, now) for stored, run in first]

    @alone
    async def release(self, worker: int) -> int:
        """See `RunStore.release`."""
        return self._release(worker)

    @alone
    async def unregister(self, worker: int) -> None:
        """See `RunStore.unregister`."""
        self._release(worker)
        self._workers.pop(worker, None)

    @alone
    async def sweep(self, max_crashes: int) -> Swept:
        """See `RunStore.sweep`."""
        now, ready, quarantined = self._now(), 0, 0
        dead = [worker for worker in self._workers if not self._is_alive(worker)]
        for worker in dead:
            for stored, run in self._runs_of(worker):
                freed = run_sweep.freed(
                    crashes=run.crashes,
                    has_moved=has_moved(stored, run),
                    nodes=next_column(stored.row),
                    most=max_crashes,
                    now=now,
                )
                place(stored, run_rules.after_sweep(run, freed))
                ready += freed.state == RunState.READY
                quarantined += freed.state == RunState.QUARANTINED
            del self._workers[worker]
        return Swept(len(dead), ready, quarantined)

    @asynccontextmanager
    async def beside(self) -> AsyncIterator["MemoryRuns"]:
        """See `RunStore.beside`."""
        other = type(self)(self._threads, self._lock, self._binding, self._workers)
        other.skew, other.lease_skew = self.skew, self.lease_skew
        yield other

    def _release(self, worker: int) -> int:
        held, now = self._runs_of(worker), self._now()
        for stored, run in held:
            stored.runs.change(run_rules.released(run, now))
        return len(held)


def _earlier(run: NewRun, living: ThreadRows) -> Accepted | None:
    """The answer of a thread that took the request before, or that belongs to another graph."""
    for known in living.runs.by_seq.values():
        if known.token == run.token:
            # This same call was applied before, and its answer was lost.
            return Accepted(known.row.seq, is_new=True, state=known.row.state, input_digest=run.input_digest)
    if run_rules.is_of_another_graph(run, living.row.graph):
        return Accepted(0, is_new=False, state=RunState.READY, stored_graph=living.row.graph)
    request = living.requests.get(run.key) if run.key is not None else None
    if request is None:
        return None
    of_request = living.runs.by_seq.get(request.seq)
    state = RunState.DONE if of_request is None else of_request.row.state
    return Accepted(request.seq, is_new=False, state=state, input_digest=request.input_digest)
