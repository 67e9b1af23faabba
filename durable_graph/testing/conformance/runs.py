"""The clauses that every store of runs has to satisfy, for a backend's own tests.

    class TestRunsOfMySaver(RunStoreConformance):
        async def open(self) -> Checkpointer:
            return MySaver(...)

        async def open_another(self, saver: Checkpointer) -> Checkpointer:
            return MySaver(...)

        async def block(self, saver: Checkpointer, thread: str, seq: int) -> None:
            ...  # set the state of the run in its row to BLOCKED

The clauses move the clocks of the store by its attributes `skew` and `lease_skew`.
"""

from durable_graph.testing.conformance.run_accept_and_claim import AcceptAndClaimClauses
from durable_graph.testing.conformance.run_acceptance import AcceptanceClauses
from durable_graph.testing.conformance.run_busy import BusyClauses
from durable_graph.testing.conformance.run_changes import SettlementClauses, UpdateClauses, WaitingClauses
from durable_graph.testing.conformance.run_children import ChildClauses, ContinuationClauses
from durable_graph.testing.conformance.run_claims import ClaimClauses, OrderClauses
from durable_graph.testing.conformance.run_control import CancelClauses, ListingClauses, RetryClauses
from durable_graph.testing.conformance.run_deadlines import DeadlineClauses
from durable_graph.testing.conformance.run_inbox import InboxClauses
from durable_graph.testing.conformance.run_leases import LeaseClauses, SweepClauses
from durable_graph.testing.conformance.run_reads import ReadClauses
from durable_graph.testing.conformance.run_retention import RepairClauses, RetentionClauses
from durable_graph.testing.conformance.run_store_under_test import RunStoreUnderTest
from durable_graph.testing.conformance.run_updates import UpdatesClauses


class RunStoreConformance(
    AcceptanceClauses,
    OrderClauses,
    ClaimClauses,
    UpdateClauses,
    WaitingClauses,
    SettlementClauses,
    InboxClauses,
    UpdatesClauses,
    LeaseClauses,
    SweepClauses,
    DeadlineClauses,
    RetentionClauses,
    RepairClauses,
    BusyClauses,
    CancelClauses,
    RetryClauses,
    ListingClauses,
    ReadClauses,
    AcceptAndClaimClauses,
    ChildClauses,
    ContinuationClauses,
):
    """All clauses. A subclass implements `open`, `open_another` and `block`."""


__all__ = ["RunStoreConformance", "RunStoreUnderTest"]
