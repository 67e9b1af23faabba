"""Each short example demonstrates the behaviour that it claims."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

RunExample = Callable[..., CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


def lines_of(ended: CompletedProcess[str]) -> list[str]:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_the_chat_in_a_second_process_has_the_history_of_the_first(run_example: RunExample) -> None:
    first = lines_of(run_example("chat_history", "I am Ada"))
    second = lines_of(run_example("chat_history", "Who am I?"))

    assert first == ["you: I am Ada", "bot: That was message 1. Your first one was 'I am Ada'."]
    assert second == [*first, "you: Who am I?", "bot: That was message 2. Your first one was 'I am Ada'."]


def test_the_join_waits_for_the_longer_branch_and_runs_once(run_example: RunExample) -> None:
    updates = lines_of(run_example("fan_out_join"))

    assert updates == [
        "{'book_flight': {'notes': ['flight']}}",
        "{'find_hotel': {'notes': ['hotel found']}}",
        "{'book_hotel': {'notes': ['hotel booked']}}",
        "{'pack': {'notes': ['packed, knowing of 3 notes']}}",
    ]


def test_the_report_is_written_every_night_and_made_up_after_an_outage(run_example: RunExample) -> None:
    printed = lines_of(run_example("nightly_report"))

    assert printed[:9] == [
        "schedule 'nightly' is new",
        "schedule 'nightly' is known",
        "Three nights:",
        "  report: sales, 2031-03-29T01:30:00Z",
        "  report: sales, 2031-03-30T01:00:00Z",
        "  report: sales, 2031-03-31T00:30:00Z",
        "Two nights without reports:",
        "By hand:",
        printed[8],
    ]
    assert printed[8].startswith("  report: sales, 2031-04-02T12:")
    assert printed[9:] == [
        "Three nights without a worker, then one that catches up:",
        "  report: sales, 2031-04-05T00:30:00Z",
        "5 reports, 2 nights skipped; the next one is at 2031-04-06 00:30:00+00:00",
    ]


def test_the_router_leads_back_until_the_draft_is_long_enough(run_example: RunExample) -> None:
    updates = lines_of(run_example("branching"))

    assert updates == [
        "{'write': {'draft': 'word'}}",
        "{'write': {'draft': 'word word'}}",
        "{'write': {'draft': 'word word word'}}",
        "{'publish': {'draft': 'word word word.'}}",
    ]


def test_the_finished_sibling_does_not_run_again(run_example: RunExample) -> None:
    printed = lines_of(run_example("resume_after_error"))

    assert printed == [
        "The first call:",
        "  reserve_stock runs",
        "  charge_card runs",
        "It failed: the card is expired",
        "Still to run: charge_card. Recorded: ['stock reserved']",
        "The second call, with None for input:",
        "  charge_card runs",
        "  ship runs",
        "The end: ['card charged', 'stock reserved', 'shipped']",
    ]


def test_the_fork_leaves_the_other_branch_unchanged(run_example: RunExample) -> None:
    played, forked, kept = lines_of(run_example("fork"))

    assert played == "Played:      ['e4', 'reply to e4', 'f4', 'reply to f4']"
    assert forked == "Forked:      ['e4', 'reply to e4', 'Nf3', 'reply to Nf3']"
    assert kept == "Still there: ['e4', 'reply to e4', 'f4', 'reply to f4']"


def test_the_payment_is_approved_in_a_second_process_without_repeating_finished_nodes(
    run_example: RunExample,
) -> None:
    printed = lines_of(run_example("approval"))

    assert printed == [
        "The first process:",
        "  add_fee runs",
        "  approve runs",
        "The run asks: {'question': 'Pay this?', 'total': 5050}",
        "The second process:",
        "Still open: Pay this?",
        "  approve runs",
        "  pay runs",
        "The end: paid 5050",
    ]


def test_each_send_is_a_task_and_the_results_have_the_order_of_the_sends(run_example: RunExample) -> None:
    printed = lines_of(run_example("map_reduce"))

    assert printed == ["2 in 'a word'", "1 in 'one'", "3 in 'three words here'", "The longest: 'three words here'"]


def test_the_parts_of_a_killed_process_run_again_on_a_new_pool(run_example: RunExample) -> None:
    printed = lines_of(run_example("analysis_on_executor"))

    assert printed == [
        "12 parts on 2 pools, because a process of the first one was killed",
        "pi is about 3.1443",
    ]


def test_the_inner_graph_interrupts_and_its_state_can_be_read_while_it_waits(run_example: RunExample) -> None:
    printed = lines_of(run_example("subgraph"))

    assert printed == [
        "  book_train runs",
        "  search runs",
        "Outer: {'city': 'Oslo', 'train': 'to Oslo'}, next: hotel",
        "Inner: {'city': 'Oslo', 'offers': ['Oslo Inn', 'Hotel Oslo']}, next: choose",
        "Asked: ['Oslo Inn', 'Hotel Oslo']",
        "The end: {'city': 'Oslo', 'train': 'to Oslo', 'hotel': 'Hotel Oslo'}",
    ]


def test_an_old_checkpoint_is_corrected_on_a_new_branch(run_example: RunExample) -> None:
    printed = lines_of(run_example("time_travel"))

    assert printed == [
        "What happened, newest first:",
        "  {'topic': 'taxes', 'joke': 'a joke about taxes'}, next: nothing",
        "  {'topic': 'taxes'}, next: tell",
        "  {}, next: choose_topic",
        "Corrected: a joke about cats",
        "The first line is kept: a joke about taxes",
        "The thread goes on from: a joke about cats",
    ]


def test_a_resumed_workflow_takes_the_results_of_its_tasks_from_their_records(run_example: RunExample) -> None:
    printed = lines_of(run_example("functional"))

    assert printed == [
        "The first workflow:",
        "  translate('tea') runs",
        "  translate('cup') runs",
        "  asks {'question': 'Keep these?', 'translations': ['TEA', 'CUP']}",
        "Resumed with an answer, it runs again, and its tasks do not:",
        "  returns {'tea': 'TEA', 'cup': 'CUP'}",
        "The next one knows what the first one returned:",
        "  translate('pot') runs",
        "  returns {'tea': 'TEA', 'cup': 'CUP', 'pot': 'POT'}",
    ]


def test_the_killed_agent_repeats_no_finished_tool_call_and_interrupts_before_it_pays(run_example: RunExample) -> None:
    printed = lines_of(run_example("agent"))

    assert printed == [
        "The first process:",
        "  find_hotel runs",
        "  book_seat runs",
        "Killed while book_seat runs. Recorded: hotel Sol",
        "The next process goes on:",
        "  book_seat runs",
        "It asks: {'question': 'Pay this?', 'amount': 240}",
        "A person answers, days later:",
        "  paid 240",
        "The end: Your trip is booked and paid.",
    ]


def test_a_run_is_started_answered_and_finished_by_processes_that_share_nothing_but_the_file(
    run_example: RunExample,
) -> None:
    lines = lines_of(run_example("approval_worker"))

    assert lines == [
        "The first process:",
        "started: True, state: ready",
        "started: False, state: ready",
        "A worker, which ends while the run waits:",
        "  reserve kettle",
        "state: waiting",
        "Another process, days later:",
        "asked: Send the kettle?",
        "Another worker:",
        "  approved by Ada",
        "  send kettle",
        "state: done",
        "The end:",
        "result: {'item': 'kettle', 'log': 'reserved, approved by Ada, sent'}",
    ]


def test_payments_keep_to_their_rate_and_a_shipment_asks_through_its_order(run_example: RunExample) -> None:
    printed = lines_of(run_example("order_with_shipment"))

    paid = {"  Ada pays for the kettle", "  Ada pays for the lamp", "  Bob pays for the map"}
    assert {*printed[:2], printed[4]} == paid
    assert printed[2:4] == ["1 payment waits for its turn.", "One minute later:"]
    assert printed[5:] == [
        "Which box for the kettle?",
        "kettle: paid, shipped in a small box",
        "Which box for the lamp?",
        "lamp: paid, shipped in a small box",
        "Which box for the map?",
        "map: paid, shipped in a small box",
    ]


def test_an_order_waits_three_days_and_is_changed_meanwhile(run_example: RunExample) -> None:
    printed = lines_of(run_example("three_days"))

    assert printed == [
        "  accept kettle for Oslo",
        "The order is waiting, and a worker executes 0 runs.",
        "Next: send, which waits for its time: True",
        "One day later the customer moves:",
        "an update: True",
        "an update: False",
        "  confirm Rome",
        "The order is waiting.",
        "Two days later:",
        "  send kettle to Rome",
        "result: {'item': 'kettle', 'address': 'Rome', 'log': 'sent to Rome'}",
    ]


def test_the_readme_lists_every_example() -> None:
    names = {path.stem for path in (ROOT / "examples").iterdir() if path.suffix == ".py" or path.is_dir()}
    listed = (ROOT / "examples" / "README.md").read_text()

    missing = [name for name in names - {"__init__", "__pycache__"} if f"python -m examples.{name}" not in listed]

    assert not missing
