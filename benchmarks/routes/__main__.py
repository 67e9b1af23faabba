"""A one-node run over HTTP beside `app.run` in a route of one's own and an empty route: `python -m benchmarks.routes`.

One client sends one request after the other to FastAPI under uvicorn, with a SQLite file. The routes take turns in
rounds. A line for each has the median of its requests, and of the rounds' ratios to the run in a route of one's own. It
takes about 30 seconds; with `--tiny`, one.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from uuid import uuid4

import httpx
import msgspec

from benchmarks.options import has_unknown


class Sizes(msgspec.Struct, frozen=True):
    """How many rounds, and how many requests to each route in a round."""

    rounds: int = 15
    requests: int = 100


TINY = Sizes(rounds=2, requests=3)
OWN = "app.run in a route of one's own"
ROUTES = {
    "an empty route": "/empty",
    OWN: "/own",
    "the same with events='all'": "/own-events",
    "POST /threads/{id}/runs/wait": "/agent/threads/{}/runs/wait",
}


async def measured(port: int, sizes: Sizes) -> dict[str, list[float]]:
    """For each route the median of each round, in milliseconds."""
    found: dict[str, list[float]] = {name: [] for name in ROUTES}
    body = {"assistant_id": "one", "input": {"count": 1}, "if_not_exists": "create"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        for _ in range(sizes.rounds):
            for name, path in ROUTES.items():
                times = []
                for _ in range(sizes.requests):
                    sent = body if "{}" in path else body["input"]
                    started = time.perf_counter()
                    reply = await client.post(path.format(uuid4()), json=sent)
                    times.append(time.perf_counter() - started)
                    reply.raise_for_status()
                found[name].append(statistics.median(times) * 1000)
    return found


async def main(sizes: Sizes) -> dict[str, list[float]]:
    """Measure, and print a line for each route."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.routes.server", folder]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220  # before all else
            assert process.stdout is not None
            port = int(await asyncio.to_thread(process.stdout.readline))
            try:
                found = await measured(port, sizes)
            finally:
                process.terminate()
                await asyncio.to_thread(process.wait)
    for name, rounds in found.items():
        ratio = statistics.median(own / base for own, base in zip(rounds, found[OWN], strict=True))
        print(f"{name:34} {statistics.median(rounds):8.2f} ms {ratio:8.2f} x")
    return found


if __name__ == "__main__":
    if has_unknown(sys.argv[1:], {"--tiny"}, __doc__):
        sys.exit(2)
    asyncio.run(main(TINY if "--tiny" in sys.argv else Sizes()))
