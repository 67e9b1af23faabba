"""A report that is written every night. The example moves the clock, over the change to summer time.

python -m examples.nightly_report
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict

from durable_graph import START, StateGraph
from durable_graph.runs import App
from durable_graph.testing import RunningApp, run_app


class Report(TypedDict, total=False):
    """The team of the report, and its text."""

    team: str
    text: str


async def collect(report: Report, config: Any) -> Report:
    """Reads the night from the occurrence, which is the same if the node runs again hours later."""
    return {"text": f"{report['team']}, {config['metadata']['occurrence']}"}


async def send(report: Report) -> Report:
    """Sends the report."""
    print(f"  report: {report['text']}")
    return {}


builder = StateGraph(Report).add_node(collect).add_node(send)
builder.add_edge(START, "collect").add_edge("collect", "send")
app = App({"report": builder.compile()}, store="sqlite:///reports.db")


async def declare() -> None:
    """Every process calls this when it starts. The schedule is made once."""
    handle = await app.schedule("nightly", "report", {"team": "sales"}, cron="30 2 * * *", zone="Europe/Berlin")
    print(f"schedule {handle.name!r} is {'new' if handle.is_new else 'known'}")


async def nights(running: RunningApp, number: int) -> None:
    """Move the clock by a number of nights."""
    for _ in range(number):
        await running.move(timedelta(days=1))


async def main() -> None:
    """Some nights of March 2031."""
    async with app:
        # The 28th of March: in the night to the 30th, the hour from two to three is missing in Berlin.
        app.store.skew = (datetime(2031, 3, 28, 12, tzinfo=UTC) - datetime.now(UTC)) // timedelta(microseconds=1)
        await declare()
        await declare()
        handle = await app.find_schedule("nightly")
        async with run_app(app) as running:
            print("Three nights:")
            await nights(running, 3)
            await handle.pause()
            print("Two nights without reports:")
            await nights(running, 2)
            await handle.resume()
            print("By hand:")
            await (await handle.trigger()).result()

        print("Three nights without a worker, then one that catches up:")
        app.store.skew += timedelta(days=3) // timedelta(microseconds=1)
        async with run_app(app) as running:
            await running.settle()
        status = await handle.status()
        print(f"{status.fired} reports, {status.skipped} nights skipped; the next one is at {status.next}")


if __name__ == "__main__":
    asyncio.run(main())
