"""What the load generator costs and how late it is, and what marks cost a service: `python -m benchmarks.service_load`.

A server that answers at once, in a process of its own, is asked at several rates by perfkit's generator, with aiohttp
and, where that is installed, with httpx, in turns; a row is a client at a rate. Then an ASGI application is called with
and without `perfkit.instrument`, in turns, in one process. Results go to results/.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import random
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import perfkit
from benchmarks.machine import cpu_model, file_name
from perfkit.serve.client import Client, Outcome
from perfkit.serve.generator import Drive, Plan, drive
from perfkit.serve.measure import stretch
from perfkit.serve.target import find_target

if TYPE_CHECKING:
    from collections.abc import Callable

RATES = (100.0, 500.0, 1000.0)
SECONDS = 2.0
ROUNDS = 5
CALLS = 2000
SERVER = """
import asyncio
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\n{}"
class Protocol(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(ANSWER * data.count(b"\\r\\n\\r\\n"))
async def main():
    server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class HttpxClient(Client):
    """The same client over httpx, as far as a load without bodies needs it."""

    async def __aenter__(self) -> HttpxClient:
        httpx: Any = importlib.import_module("httpx")  # a contestant where it is installed, and else none
        self.httpx: Any = httpx.AsyncClient(timeout=self.timeout_s, limits=httpx.Limits(max_connections=None))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.httpx.aclose()

    async def send(self, name: str, number: int, intended: int) -> Outcome:
        """Send a request, and wait for its answer."""
        sent, error = time.perf_counter_ns(), ""
        try:
            response = await self.httpx.get(self.target.url, headers={"X-Perfkit-Request": name})
            error = "" if response.is_success else f"HTTP {response.status_code}"
        except Exception as failure:  # noqa: BLE001  whatever it is, it is counted
            error = type(failure).__name__
        return Outcome(name, 1, intended, sent, time.perf_counter_ns(), error)


def asked(kind: type[Client], url: str, rate: float) -> dict[str, float]:
    """Return what a client took and found, at a rate."""

    async def run() -> Drive:
        async with kind(find_target(url, [], None, allow_remote=False)) as client:
            await client.send("warm-up", 0, time.perf_counter_ns())
            return await drive(client, Plan(rate, SECONDS, "constant"))

    begun = time.process_time()
    found = asyncio.run(run())
    cpu_s = time.process_time() - begun
    said = stretch(found)
    return {
        "cpu_ms_a_request": 1000 * cpu_s / max(said.sent, 1),
        "sent_per_s": said.achieved_per_s,
        "p50_ms": said.latency.p50_ns / 1e6,
        "p99_ms": said.latency.p99_ns / 1e6,
        "late_p50_us": said.lateness.p50_ns / 1e3,
        "late_p99_us": said.lateness.p99_ns / 1e3,
        "failed": sum(said.errors.values()),
    }


def clients() -> dict[str, type[Client]]:
    """Return the clients that are installed."""
    found: dict[str, type[Client]] = {"aiohttp": Client}
    if find_spec("httpx") is not None:
        found["httpx"] = HttpxClient
    return found


def loads(url: str) -> list[dict[str, Any]]:
    """Return the median over rounds of every client at every rate; rounds begin with another client in turn."""
    rows = []
    names = list(clients())
    for rate in RATES:
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for turn in range(ROUNDS):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                rounds[name].append(asked(clients()[name], url, rate))
        for name, some in rounds.items():
            middle = {key: round(median(one[key] for one in some), 3) for key in some[0]}
            rows.append({"client": name, "rate": rate, **middle})
            print(rows[-1], flush=True)
    return rows


async def plain(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer nothing much."""
    await send({"type": "http.response.start", "status": 200, "headers": []})


def called(app: Callable[..., Any]) -> float:
    """Return the seconds of a call of an application."""

    async def run() -> float:
        async def send(_: Any) -> None:
            return

        begun = time.perf_counter()
        for number in range(CALLS):
            headers = [(b"x-perfkit-request", b"r%d" % number)]
            await app({"type": "http", "path": "/", "method": "GET", "headers": headers}, None, send)
        return (time.perf_counter() - begun) / CALLS

    return asyncio.run(run())


def marks() -> dict[str, float]:
    """Return what a mark costs a request while nothing records, with the 95 % interval of the median over rounds."""
    import torch

    assert torch.autograd  # marks use it where it is
    marked = perfkit.instrument(plain)
    called(plain), called(marked)
    costs = []
    for _ in range(ROUNDS * 4):
        with_mark, without, again, with_again = called(marked), called(plain), called(plain), called(marked)
        costs.append(1e6 * (with_mark + with_again - without - again) / 2)
    chance = random.Random(0)
    drawn = sorted(median(chance.choices(costs, k=len(costs))) for _ in range(2000))
    return {"mark_us": round(median(costs), 2), "low_us": round(drawn[50], 2), "high_us": round(drawn[1949], 2)}


def main() -> None:
    """Measure, print and keep."""
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        rows = loads(f"http://127.0.0.1:{int(server.stdout.readline())}/")
    finally:
        server.kill()
        server.communicate()
    mark = marks()
    print(mark)
    machine: dict[str, Any] = {"cpu": cpu_model(), "cores": os.cpu_count(), "python": sys.version.split()[0]}
    kept = {"machine": machine, "seconds": SECONDS, "rounds": ROUNDS, "loads": rows, "marks": mark}
    path = Path(__file__).with_name("results") / f"service-load-{file_name(machine)}"
    path.write_text(f"{json.dumps(kept, indent=1)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
