"""The commands of operators, on a store whose program is not imported unless a command names it."""

import asyncio
import json
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

import durable_graph.__main__
from durable_graph import import_threads
from durable_graph.runs import App
from durable_graph_sqlite import SqliteSaver
from tests.operating.conftest import STORE, Operate, Shop

# Runs


def test_runs_are_listed_in_aligned_columns(shop: Shop, operate: Operate) -> None:
    first, second = shop.start("order", "t-1"), shop.start("order", "t-22")
    listed = operate("runs", "--store", STORE)
    head, *lines = listed.lines
    assert head.split()[:6] == ["RUN", "THREAD", "GRAPH", "STATE", "AGE", "DUE"]
    assert [line.split()[:4] for line in lines] == [
        [first, "t-1", "order", "ready"],
        [second, "t-22", "order", "ready"],
    ]
    assert {line.index("order") for line in lines} == {head.index("GRAPH")}
    assert "shop" not in sys.modules


def test_listed_runs_are_selected_by_graph_state_thread_and_number(shop: Shop, operate: Operate) -> None:
    shop.start("order", "t-1")
    failed = shop.start("print", "t-2")
    assert shop.work("waiting", "failed") == ["waiting", "failed"]
    waiting = ["t-1"]
    for options, threads in [
        (["--graph", "order"], waiting),
        (["--state", "waiting"], waiting),
        (["--thread", "t-1"], waiting),
        (["--limit", "1"], waiting),
        (["--state", "done"], []),
    ]:
        found = json.loads(operate("runs", "--store", STORE, "--json", *options).out)
        assert [each["thread_id"] for each in found] == threads
    (found,) = json.loads(operate("runs", "--store", STORE, "--json", "--state", "failed").out)
    assert (found["run_id"], found["attempt"]) == (failed, 1)


def test_an_empty_listing_prints_nothing(shop: Shop, operate: Operate) -> None:
    shop.start("order", "t-1")
    assert operate("runs", "--store", STORE, "--state", "done").out == ""


def test_control_characters_of_stored_text_do_not_reach_the_terminal(shop: Shop, operate: Operate) -> None:
    shop.start("print", "t-1")
    shop.work("failed")
    for command in (["runs"], ["threads"], ["show", "t-1"]):
        printed = operate(*command, "--store", STORE).out
        assert "no \\x1b[31m paper" in printed
        assert "\x1b" not in printed


# Threads


def test_threads_are_listed_with_status_graph_next_nodes_and_age(shop: Shop, operate: Operate) -> None:
    shop.start("order", "t-1")
    shop.start("print", "t-2")
    shop.work("waiting", "failed")
    head, *lines = operate("threads", "--store", STORE).lines
    assert head.split() == ["THREAD", "STATUS", "GRAPH", "NEXT", "AGE", "METADATA", "ERROR"]
    assert [line.split()[:4] for line in lines] == [
        ["t-1", "interrupted", "order", "approve"],
        ["t-2", "failed", "print", "fail"],
    ]
    (found,) = json.loads(operate("threads", "--store", STORE, "--status", "failed", "--json").out)
    assert (found["thread_id"], found["next"]) == ("t-2", ["fail"])
    assert found["since"] is not None


def test_threads_are_listed_and_shown_with_their_metadata(shop: Shop, operate: Operate) -> None:
    async def create(app: App) -> None:
        await app.threads.create("created", metadata={"user": "Ann", "tags": [1]})
        await app.start("order", {"sum": 1}, {"metadata": {"run": "one"}}, thread_id="ran")

    shop.call(create)
    shop.work("waiting")
    head, created, ran = operate("threads", "--store", STORE).lines
    at = head.index("METADATA")
    assert (created.split()[:2], created[at:]) == (["created", "done"], '{"user":"Ann","tags":[1]}')
    assert ran[at:].strip() == ""
    found = json.loads(operate("threads", "--store", STORE, "--json").out)
    assert [each["metadata"] for each in found] == [{"user": "Ann", "tags": [1]}, {}]
    shown = [json.loads(operate("show", thread, "--store", STORE, "--json").out) for thread in ("created", "ran")]
    assert [(each["metadata"], each["call_metadata"]) for each in shown] == [
        ({"user": "Ann", "tags": [1]}, {}),
        ({}, {"run": "one"}),
    ]
    assert shown[0]["checkpoints"] == []
    printed = operate("show", "created", "--store", STORE).lines
    assert 'metadata  {"user":"Ann","tags":[1]}' in printed


def test_show_finds_a_thread_by_its_id_and_by_the_id_of_a_run(shop: Shop, operate: Operate) -> None:
    run = shop.start("order", "t-1")
    shop.start("order", "t-1")
    assert shop.work("waiting", "blocked") == ["waiting", "blocked"]
    by_thread = json.loads(operate("show", "t-1", "--store", STORE, "--json").out)
    by_run = json.loads(operate("show", run, "--store", STORE, "--json").out)
    assert [each["state"] for each in by_thread["runs"]] == ["waiting", "blocked"]
    assert [each["run_id"] for each in by_run["runs"]] == [run]
    assert (by_run["status"], by_run["graph"], by_run["next"]) == ("interrupted", "order", ["approve"])
    assert by_run["checkpoints"] == by_thread["checkpoints"]
    assert [(each["step"], each["source"], each["writers"], each["next"]) for each in by_run["checkpoints"]] == [
        (1, "loop", ["reserve"], ["approve"]),
        (0, "input", [], ["reserve"]),
    ]


def test_show_prints_open_questions_without_the_classes_of_the_program(shop: Shop, operate: Operate) -> None:
    shop.start("order", "t-1")
    shop.work("waiting")
    (question,) = json.loads(operate("show", "t-1", "--store", STORE, "--json").out)["interrupts"]
    assert question["node"] == "approve"
    assert question["value"] == {"$type": "Question", "value": {"text": "Pay?", "sum": 240}}
    printed = operate("show", "t-1", "--store", STORE).out
    assert question["id"] in printed
    assert '{"$type":"Question","value":{"text":"Pay?","sum":240}}' in printed
    assert "shop" not in sys.modules


def test_show_prints_a_delayed_task(shop: Shop, operate: Operate) -> None:
    shop.start("later", "t-1")
    shop.work("waiting")
    (delay,) = json.loads(operate("show", "t-1", "--store", STORE, "--json").out)["interrupts"]
    assert (delay["node"], delay["value"], delay["topic"]) == ("reserve", None, None)
    assert re.search(" in [23]d ", operate("show", "t-1", "--store", STORE).out)


def test_show_prints_sleeps_with_their_time_and_awaited_messages_with_their_topic(shop: Shop, operate: Operate) -> None:
    shop.start("rest", "t-1")
    shop.start("listen", "t-2")
    shop.work("waiting")
    (asleep,) = json.loads(operate("show", "t-1", "--store", STORE, "--json").out)["interrupts"]
    (listening,) = json.loads(operate("show", "t-2", "--store", STORE, "--json").out)["interrupts"]
    assert (asleep["topic"], asleep["due"] is None) == (None, False)
    assert (listening["topic"], listening["due"]) == ("parcel", None)
    for command in (["show", "t-1"], ["runs", "--thread", "t-1"]):
        assert re.search(" in [23]d ", operate(*command, "--store", STORE).out)


def test_show_prints_an_accepted_run_whose_thread_has_no_checkpoint(shop: Shop, operate: Operate) -> None:
    run = shop.start("order", "t-1")
    found = json.loads(operate("show", run, "--store", STORE, "--json").out)
    assert (found["status"], found["checkpoints"], found["interrupts"]) == ("running", [], [])
    assert [each["state"] for each in found["runs"]] == ["ready"]


def test_show_limits_the_checkpoints(shop: Shop, operate: Operate) -> None:
    shop.start("order", "t-1")
    shop.work("waiting")
    found = json.loads(operate("show", "t-1", "--store", STORE, "--json", "--limit", "1").out)
    assert [each["step"] for each in found["checkpoints"]] == [1]
    refused = operate("show", "t-1", "--store", STORE, "--limit", "0")
    assert (refused.code, "limit" in refused.err) == (1, True)


# Changes


@pytest.mark.parametrize("by_thread", [True, False])
def test_a_run_is_cancelled_and_retried_by_its_id_or_its_threads(
    shop: Shop, operate: Operate, *, by_thread: bool
) -> None:
    run = shop.start("order", "t-1")
    target = "t-1" if by_thread else run
    assert operate("cancel", target, "--store", STORE, "--reason", "a mistake").lines == [f"{run} cancelled"]
    status = shop.status(run)
    assert (status.state, status.error) == ("cancelled", "a mistake")
    assert operate("retry", target, "--store", STORE).lines == [f"{run} ready"]
    assert shop.work("waiting") == ["waiting"]


def test_a_run_that_another_one_followed_is_not_retried(shop: Shop, operate: Operate) -> None:
    first = shop.start("print", "t-1")
    shop.work("failed")
    shop.start("print", "t-1")
    refused = operate("retry", first, "--store", STORE)
    assert (refused.code, refused.out) == (1, "")
    assert first in refused.err
    assert "followed" in refused.err


def test_an_update_is_shown_until_it_is_discarded(shop: Shop, operate: Operate) -> None:
    shop.start("order", "t-1")
    shop.call(lambda app: app.update("t-1", {"log": "other"}, key="change-1"))
    assert json.loads(operate("show", "t-1", "--store", STORE, "--json").out)["updates"] == ["change-1"]
    assert operate("show", "t-1", "--store", STORE).lines[-2:] == ["UPDATE", "change-1"]
    discarded = operate("discard-update", "t-1", "change-1", "--store", STORE)
    assert (discarded.code, discarded.lines) == (0, ["update change-1 discarded"])
    again = operate("discard-update", "t-1", "change-1", "--store", STORE, "--json")
    assert (again.code, json.loads(again.out)) == (1, {"discarded": False})
    assert "UPDATE" not in operate("show", "t-1", "--store", STORE).out
    assert shop.work("waiting") == ["waiting"]


def test_an_answer_wakes_the_run_and_a_second_answer_is_refused(shop: Shop, operate: Operate) -> None:
    run = shop.start("order", "t-1")
    shop.work("waiting")
    (question,) = json.loads(operate("show", run, "--store", STORE, "--json").out)["interrupts"]
    answered = operate("answer", "t-1", "yes", "--app", "shop:app")
    assert answered.lines == [f"answered {question['id']}"]
    refused = operate("answer", "t-1", "no", "--app", "shop:app", "--interrupt", question["id"])
    assert (refused.code, refused.out) == (1, "")
    assert "answered already, with 'yes'" in refused.err
    assert shop.work("done") == ["done"]


@pytest.mark.parametrize(("given", "stored"), [("yes", "yes"), ('"7"', "7"), ('{"by": "Ada"}', {"by": "Ada"})])
def test_an_answer_is_json_or_else_text(shop: Shop, operate: Operate, given: str, stored: object) -> None:
    run = shop.start("order", "t-1")
    shop.work("waiting")
    assert operate("answer", "t-1", given, "--app", "shop:app", "--json").code == 0
    shop.work("done", "failed")
    status = shop.status(run)
    # The graph checks the answer: its node returns it as a text.
    assert status.state == ("done" if isinstance(stored, str) else "failed")


# Stores


def test_an_export_holds_the_threads_that_were_named(shop: Shop, operate: Operate) -> None:
    for thread in ("t-1", "t-2", "t-3"):
        shop.start("order", thread)
    shop.work("waiting")
    exported = operate("export", "two.export", "--store", STORE, "--thread", "t-1", "--thread", "t-3")
    assert exported.lines == ["2 threads exported"]

    async def imported() -> list[str]:
        async with SqliteSaver("other.db") as other:
            await import_threads(other, "two.export")
            return [each.thread for each in await other.list_threads()]

    assert asyncio.run(imported()) == ["t-1", "t-3"]
    refused = operate("export", "two.export", "--store", STORE)
    assert (refused.code, "two.export" in refused.err) == (1, True)
    assert operate("export", "all.export", "--store", STORE).lines == ["3 threads exported"]


def test_clean_deletes_runs_that_ended_and_threads_that_are_done(shop: Shop, operate: Operate) -> None:
    shop.start("order", "asks")
    shop.start("listen", "listens")
    shop.start("rest", "rests")
    assert shop.work("waiting") == ["waiting"] * 3
    assert operate("cancel", "listens", "--store", STORE).code == 0
    assert operate("clean", "--store", STORE).lines == ["0 runs and 0 threads deleted"]
    cleaned = operate("clean", "--store", STORE, "--keep-results", "0", "--keep-threads", "0", "--json")
    assert json.loads(cleaned.out) == {"repaired": 0, "runs": 1, "threads": 0, "deletions": 0}
    assert [line.split()[1] for line in operate("runs", "--store", STORE).lines[1:]] == ["asks", "rests"]
    assert "shop" not in sys.modules


@pytest.mark.parametrize("days", ["-1", "nan", "1e300"])
def test_clean_refuses_an_invalid_time(shop: Shop, operate: Operate, days: str) -> None:
    shop.start("order", "asks")
    refused = operate("clean", "--store", STORE, f"--keep-results={days}")
    assert (refused.code, "keep_results" in refused.err) == (1, True)


def test_check_ends_with_1_and_names_the_damaged_row(shop: Shop, operate: Operate) -> None:
    for thread in ("t-1", "t-2"):
        shop.start("order", thread)
    shop.work("waiting")
    sound = operate("check", "--store", STORE)
    assert (sound.code, sound.lines) == (0, ["2 threads checked, 0 damaged"])
    with closing(sqlite3.connect("shop.db", isolation_level=None)) as database:
        key = "SELECT thread_key FROM threads WHERE thread_id = 't-2'"
        database.execute(f"UPDATE channel_rows SET value = x'00' WHERE thread_key = ({key})")
    damaged = operate("check", "--store", STORE)
    assert damaged.code == 1
    assert damaged.lines[-1] == "2 threads checked, 1 damaged"
    assert "t-2" in damaged.out
    assert "its bytes do not match its digest" in damaged.out
    assert operate("check", "t-1", "--store", STORE).code == 0
    found = json.loads(operate("check", "t-2", "--store", STORE, "--json").out)
    assert {each["thread_id"] for each in found["damage"]} == {"t-2"}


def test_commands_use_the_store_of_an_app_or_of_the_environment(
    shop: Shop, operate: Operate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop.start("order", "t-1")
    assert run in operate("runs", "--app", "shop:app").out
    monkeypatch.setenv("DURABLE_GRAPH_STORE", STORE)
    assert run in operate("runs").out


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["show", "nothing"], "'nothing'"),
        (["show", "65a55b6b-d4ff-8096-8c06-6167db4510e5"], "'65a55b6b-d4ff-8096-8c06-6167db4510e5'"),
        (["cancel", "nothing"], "'nothing'"),
        (["retry", "nothing"], "'nothing'"),
        (["discard-update", "nothing", "key"], "'nothing'"),
        (["check", "nothing"], "'nothing'"),
        (["export", "x.export", "--thread", "nothing"], "'nothing'"),
        (["runs", "--limit", "-1"], "limit"),
    ],
    ids=str,
)
def test_an_unknown_run_or_thread_is_named(shop: Shop, operate: Operate, arguments: list[str], named: str) -> None:
    shop.start("order", "t-1")
    refused = operate(*arguments, "--store", STORE)
    assert (refused.code, refused.out) == (1, "")
    assert named in refused.err
    assert refused.err.count("\n") == 1


@pytest.mark.parametrize(
    ("app", "named"),
    [
        ("shop", "module:name"),
        ("shop:", "module:name"),
        (".shop:app", "module:name"),
        ("shp:app", "'shp' does not exist"),
        ("shop.orders:app", "'shop.orders' does not exist"),
        ("shop:GRAPHS", "module 'shop' has: app"),
        ("shop:ap", "module 'shop' has: app"),
    ],
)
@pytest.mark.parametrize(
    "command", [["worker"], ["answer", "t-1", "yes", "--app"], ["runs", "--app"]], ids=lambda c: c[0]
)
def test_an_unknown_app_is_named(shop: Shop, operate: Operate, command: list[str], app: str, named: str) -> None:
    refused = operate(*command, app)
    assert (refused.code, refused.out) == (1, "")
    assert repr(app) in refused.err
    assert named in refused.err


def test_an_error_inside_the_program_is_the_programs_own(shop: Shop, operate: Operate) -> None:
    (shop.folder / "broken.py").write_text("import a_module_that_is_missing\n")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_missing"):
        operate("runs", "--app", "broken:app")


def test_a_store_that_does_not_exist_is_named_and_not_created(shop: Shop, operate: Operate) -> None:
    refused = operate("threads", "--store", "sqlite:///mistyped.db")
    assert (refused.code, "mistyped.db" in refused.err) == (1, True)
    assert not Path("mistyped.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [["wrker"], ["runs", "--state", "asleep"], ["show"], ["worker", "shop:app", "--concurrency", "many"]],
    ids=str,
)
def test_a_mistake_in_the_command_line_ends_with_2(shop: Shop, operate: Operate, arguments: list[str]) -> None:
    refused = operate(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert refused.err != ""


def test_a_command_without_a_store_says_how_to_name_one(shop: Shop, operate: Operate) -> None:
    refused = operate("runs")
    assert (refused.code, refused.out) == (1, "")
    assert "--store URL, or --app module:name" in refused.err


def test_help_lists_the_commands(operate: Operate) -> None:
    printed = operate("--help")
    assert printed.code == 0
    for command in (
        *("worker", "runs", "threads", "show", "cancel", "retry", "discard-update", "answer", "export", "clean"),
        "check",
    ):
        assert f"\n  {command}" in printed.out


def test_without_the_extra_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(durable_graph.__main__, "find_spec", lambda name: None)
    assert durable_graph.__main__.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install durable-graph[cli]" in line
