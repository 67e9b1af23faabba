"""The page of the example service in a headless Chromium: `make browser`, about two minutes.

The server is a process that is killed. Screenshots are in the folder of the test (`--basetemp` chooses where).
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.examples.chromium import Browser, program
from tests.examples.servers import Server

TAB, ENTER, SPACE = "\ue004", "\ue007", " "

LIVE = "document.getElementById('connection-text').textContent === 'Live'"
ASKED = "!document.getElementById('decision').hidden"


def is_state(name: str) -> str:
    return f"document.getElementById('order-state').textContent === '{name}'"


def nodes(state: str) -> str:
    return f"document.querySelectorAll('#graph .node.{state}:not(.dot)').length"


@pytest.fixture(scope="session", autouse=True)
def programs() -> list[str]:
    return [program(name) for name in ("chromium", "chromedriver")]


@pytest.fixture
def framework() -> str:
    return "fastapi"


@pytest.fixture
def server(tmp_path: Path, framework: str) -> Iterator[Server]:
    with Server(tmp_path, f"examples.service.with_{framework}", environment={"EXAMPLE_PACE": "0.3"}) as started:
        yield started
    assert "Traceback" not in started.log


@pytest.fixture
def browser(server: Server, tmp_path: Path) -> Iterator[Browser]:
    with Browser(tmp_path) as started:
        started.open(server.url)
        started.wait("document.getElementById('connection-text').textContent === 'Ready'")
        yield started
        # The browser itself logs each request that a killed server does not answer.
        lost = re.compile(
            "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE"
        )
        assert [entry["message"] for entry in started.log() if not lost.search(entry["message"])] == []


def delivery(browser: Browser) -> dict[str, int]:
    names = ("events", "missing", "repeated", "connections")
    return {name: int(browser.text(f"#{name}")) for name in names}


def events_of_server(server: Server, browser: Browser) -> list[str]:
    """The ids of all events of the order on the page, as another client reads them."""
    thread = browser.script("return location.hash.split('/')[1]")
    run = httpx.get(f"{server.url}/api/threads/{thread}/runs").json()[0]["run_id"]
    url = f"{server.url}/api/threads/{thread}/runs/{run}/events"
    return re.findall(r"^id: ?(\d+)", httpx.get(url, headers={"Last-Event-ID": "-1"}, timeout=60).text, re.MULTILINE)


@pytest.mark.parametrize("framework", ["fastapi", "aiohttp"])
def test_order_survives_a_reload_and_a_kill_and_is_approved(server: Server, browser: Browser, tmp_path: Path) -> None:
    browser.screenshot(tmp_path / "1-form.png")
    browser.click("#start")
    browser.wait(f"{nodes('running')} === 4")
    browser.screenshot(tmp_path / "2-running.png")
    browser.reload()
    browser.wait(f"{LIVE} && {nodes('running')} > 0")

    server.kill()
    browser.wait("document.getElementById('connection').dataset.state === 'reconnecting'")
    assert browser.script(f"return {nodes('running')} + {nodes('planned')}") > 0
    browser.screenshot(tmp_path / "3-reconnecting.png")
    server.start()
    browser.wait(LIVE)
    browser.wait(ASKED)
    browser.screenshot(tmp_path / "4-decision.png")
    assert "3 × Copper kettle" in browser.text("#question")
    assert browser.text("#kill-command") == f"kill -9 {httpx.get(f'{server.url}/server').json()['pid']}"

    browser.type("input[name=by]", "Grace Hopper")
    browser.click("#approve")
    browser.wait(is_state("Done"))
    browser.screenshot(tmp_path / "5-done.png")
    assert browser.text("#letter").endswith("Yours, Grace Hopper")
    assert browser.script(f"return {nodes('done')}") == 9
    seen = delivery(browser)
    assert (seen["missing"], seen["repeated"], seen["connections"]) == (0, 0, 2)
    ids = events_of_server(server, browser)
    assert len(ids) == len(set(ids)) == seen["events"]
    browser.wait("document.querySelector('#orders .chip').textContent === 'done'")


def test_order_is_started_and_rejected_with_the_keyboard(server: Server, browser: Browser, tmp_path: Path) -> None:
    focused = "return document.activeElement.id || document.activeElement.name"
    browser.press(TAB)
    assert browser.script("return document.activeElement.textContent") == "Skip to the order"
    for _ in range(20):
        if browser.script(focused) == "customer":
            break
        browser.press(TAB)
    browser.press(ENTER)
    browser.wait(ASKED)
    browser.script("document.querySelector('input[name=by]').focus()")
    browser.press(f"Ada{TAB}Not in May.{TAB}{TAB}")
    assert browser.script(focused) == "reject"
    browser.press(ENTER)
    # The form is gone, so the focus is where the order begins.
    browser.wait("document.activeElement.id === 'order-title'")
    browser.wait(is_state("Done"))
    assert "Not in May. Yours, Ada" in browser.text("#letter")
    assert browser.script(f"return {nodes('done')}") == 9
    assert "release" in browser.script("return document.getElementById('graph').textContent.toLowerCase()")


def test_failed_order_is_retried_and_cancelled(server: Server, browser: Browser, tmp_path: Path) -> None:
    browser.click("input[name=payment_fails]")
    browser.click("#start")
    browser.wait(is_state("Failed"))
    browser.screenshot(tmp_path / "1-failed.png")
    assert browser.script(f"return {nodes('failed')}") == 1
    assert "the payment service does not answer" in browser.text("#steps")
    browser.click("#retry")
    browser.wait(f"{nodes('running')} > 0")
    browser.click("#cancel")
    browser.wait(is_state("Cancelled"))
    browser.screenshot(tmp_path / "2-cancelled.png")
    assert browser.script(f"return {nodes('stopped')}") > 0


def test_decision_of_somebody_else_appears(server: Server, browser: Browser) -> None:
    browser.click("#start")
    browser.wait(ASKED)
    thread = browser.script("return location.hash.split('/')[1]")
    answer = {"value": {"approved": True, "by": "Alan", "comment": ""}}
    httpx.post(f"{server.url}/api/threads/{thread}/answers", json=answer).raise_for_status()
    browser.wait(f"!({ASKED})")
    browser.wait(is_state("Done"))
    assert "Approved by Alan" in browser.text("#steps")


def test_order_that_is_started_while_the_server_is_away_is_started_once(server: Server, browser: Browser) -> None:
    server.kill()
    browser.click("#start")
    browser.wait("document.getElementById('connection').dataset.state === 'reconnecting'")
    server.start()
    browser.wait(ASKED)
    assert len(httpx.post(f"{server.url}/api/threads/search", json={}).json()) == 1


CONTRAST = """
const channels = (css) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = css;
  canvas.fillRect(0, 0, 1, 1);
  return [...canvas.getImageData(0, 0, 1, 1).data];
};
const light = ([r, g, b]) => {
  const [x, y, z] = [r, g, b].map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * x + 0.7152 * y + 0.0722 * z;
};
const behind = (element) => {
  for (; element; element = element.parentElement) {
    const colour = channels(getComputedStyle(element).backgroundColor);
    if (colour[3] === 255) return colour;
  }
  return [255, 255, 255];
};
const weak = [];
for (const element of document.querySelectorAll("body *")) {
  const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!hasText || !element.checkVisibility() || element.closest("svg, :disabled, .unseen, .skip")) continue;
  const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
  const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (contrast < 4.5) weak.push(`${element.tagName} ${element.id} ${element.textContent} ${contrast.toFixed(2)}`);
}
return weak;
"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_page_is_usable_by_everybody(browser: Browser, tmp_path: Path, theme: str) -> None:
    browser.script("localStorage.setItem('theme', arguments[0])", theme)
    browser.reload()
    browser.wait("document.getElementById('connection-text').textContent === 'Ready'")
    assert browser.script(CONTRAST) == []
    browser.click("#start")
    browser.wait(ASKED)
    browser.screenshot(tmp_path / f"{theme}.png")
    assert browser.script(CONTRAST) == []
    assert browser.label("#graph").startswith("The graph of the order. Check order: done")
    names: dict[str, Any] = {css: browser.label(css) for css in ("#approve", "input[name=by]", "input[name=comment]")}
    assert names == {
        "#approve": "Approve",
        "input[name=by]": "Your name",
        "input[name=comment]": "Comment for the customer, optional",
    }
    assert browser.script("return document.querySelectorAll('main').length") == 1
    # A narrow window has no part that only a horizontal scroll shows.
    browser.resize(400, 900)
    browser.wait("innerWidth <= 520")
    assert browser.script("return document.documentElement.scrollWidth <= innerWidth")
    browser.screenshot(tmp_path / f"{theme}-narrow.png")
