"""A slow HTTP service: a small transformer behind uvicorn, one request at a time on the thread of the event loop.

    python -m benchmarks.programs.slow_service --port 8000 [--fault blocking|threads|none] [--profile-into traces/]
    curl -X POST http://127.0.0.1:8000/predict -d '{"inputs": [[1, 2, 3]]}'

Faults: ``blocking`` answers each request by a call of its own, on the event loop, and logs a number of every layer by
``.item()``; ``threads`` does so in a thread pool; ``none`` gathers the requests that wait into one batch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

import perfkit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

VOCABULARY, WIDTH, HEADS, LAYERS, LENGTH = 1000, 128, 4, 4, 32
MOST_TOGETHER = 16


class Classifier(nn.Module):  # type: ignore[misc]  # torch is not typed here
    """A transformer encoder and a head on the mean of its tokens."""

    def __init__(self) -> None:
        """Make one with random weights, the same each time."""
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, batch_first=True) for _ in range(LAYERS)
        )
        self.head = nn.Linear(WIDTH, 2)
        self.seen: list[float] = []

    def forward(self, tokens: torch.Tensor, *, watched: bool) -> torch.Tensor:
        """Classify tokens of shape (batch, length); ``watched`` reads a number of each layer back."""
        hidden = self.embed(tokens)
        for layer in self.layers:
            hidden = layer(hidden)
            if watched:
                self.seen.append(hidden.norm().item())
        self.seen.clear()
        answer: torch.Tensor = self.head(hidden.mean(1))
        return answer


class Service:
    """Answers with the model, in one of several manners."""

    def __init__(self, fault: str, device: torch.device) -> None:
        """Load the model."""
        self.fault, self.device = fault, device
        self.model = Classifier().eval().to(device)
        self.waiting: asyncio.Queue[tuple[list[list[int]], str, asyncio.Future[list[int]]]] = asyncio.Queue()

    def compute(self, rows: list[list[int]], *ids: str) -> list[int]:
        """Classify some rows of tokens, for the requests of these ids."""
        with perfkit.request(*ids), torch.inference_mode():
            padded = [(row + [0] * LENGTH)[:LENGTH] for row in rows]
            scores = self.model(torch.tensor(padded, device=self.device) % VOCABULARY, watched=self.fault != "none")
            classes: list[int] = scores.argmax(-1).tolist()
            return classes

    async def predict(self, request: Request) -> Response:
        """Answer ``{"inputs": [[token, ...], ...]}`` with a class for each."""
        from starlette.responses import JSONResponse

        asked = await request.body()
        rows = json.loads(asked)["inputs"] if asked else [[1, 2, 3]]
        print("served", perfkit.request_id(), file=sys.stderr, flush=True)
        if self.fault == "blocking":
            classes = self.compute(rows)
        elif self.fault == "threads":
            classes = await asyncio.to_thread(self.compute, rows)
        else:
            answer: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
            self.waiting.put_nowait((rows, perfkit.request_id(), answer))
            classes = await answer
        return JSONResponse({"classes": classes})

    async def batches(self) -> None:
        """Gather what waits, without waiting for more, and answer it together."""
        while True:
            batch = [await self.waiting.get()]
            while len(batch) < MOST_TOGETHER and not self.waiting.empty():
                batch.append(self.waiting.get_nowait())
            rows = [row for some, _, _ in batch for row in some]
            classes = await asyncio.to_thread(self.compute, rows, *(name for _, name, _ in batch))
            for some, _, answer in batch:
                mine, classes = classes[: len(some)], classes[len(some) :]
                if not answer.done():
                    answer.set_result(mine)


def make_app(service: Service) -> Starlette:
    """Return the application."""
    from starlette.applications import Starlette
    from starlette.routing import Route

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(service.batches())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return Starlette(routes=[Route("/predict", service.predict, methods=["GET", "POST"])], lifespan=lifespan)


def main() -> None:
    """Serve until stopped."""
    import uvicorn

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fault", choices=["blocking", "threads", "none"], default="blocking")
    parser.add_argument("--profile-into", help="folder for traces that /start_profile and /stop_profile make")
    parser.add_argument("--bare", action="store_true", help="without perfkit's marks")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for one operator")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    service = Service(asked.fault, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    app: Any = make_app(service)
    if not asked.bare:
        app = perfkit.instrument(app, profile_into=asked.profile_into)
    uvicorn.run(app, host="127.0.0.1", port=asked.port, log_level="warning")


if __name__ == "__main__":
    main()
