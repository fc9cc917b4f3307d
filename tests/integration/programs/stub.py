"""A server of which everything is known: an OpenAI-style stream, vLLM's profiling endpoints, and a service that stalls.

    uvicorn tests.integration.programs.stub:app --port 8000

``/v1/chat/completions`` streams TOKENS tokens, the first after FIRST_S, then one every BETWEEN_S; the model computes
before each, and when the request came and each token went is logged, in ns of the monotonic clock. ``/start_profile``
and ``/stop_profile`` write a trace of PyTorch's profiler to VLLM_TORCH_PROFILER_DIR, as vLLM does, and heed no body.
``/predict`` serves one request at a time and stalls for STALL_S, once, STALL_AFTER_S after the first request of a load;
it logs when each came and was answered.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

TOKENS, FIRST_S, BETWEEN_S = 8, 0.08, 0.02
SERVICE_S = float(os.environ.get("STUB_SERVICE_S", "0.002"))
STALL_AFTER_S, STALL_S = (1.0, 1.0) if SERVICE_S < 0.01 else (1e6, 0.0)

torch.set_num_threads(1)
model = torch.nn.Linear(64, 64)
lock = asyncio.Lock()
state: dict[str, Any] = {"stall at": None, "profiler": None}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer one connection."""
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
    asked = await receive()
    answer = PATHS.get(scope["path"])
    if answer is None:
        await respond(send, 404, b"{}")
    else:
        await answer(dict(scope["headers"]).get(b"x-perfkit-request", b"").decode(), asked.get("body", b""), send)


async def predict(name: str, _: bytes, send: Any) -> None:
    came = time.monotonic_ns()
    if not name.startswith("warm-up") and state["stall at"] is None:
        state["stall at"] = came + int(STALL_AFTER_S * 1e9)
    async with lock:
        if state["stall at"] is not None and time.monotonic_ns() > state["stall at"]:
            state["stall at"] = 1 << 62
            await asyncio.sleep(STALL_S)
        await asyncio.sleep(SERVICE_S)
    await respond(send, 200, b"{}")
    os.write(2, f"served {name} {came} {time.monotonic_ns()}\n".encode())


async def complete(name: str, body: bytes, send: Any) -> None:
    asked = json.loads(body)
    assert asked["stream"] is True
    times = [time.monotonic_ns()]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})

    async def say(value: Any, *, more: bool = True) -> None:
        text = value if isinstance(value, str) else json.dumps(value)
        await send({"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": more})

    await say({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
    for number in range(TOKENS):
        with torch.inference_mode():
            model(torch.ones(4, 64))
        await asyncio.sleep(max((times[0] - time.monotonic_ns()) / 1e9 + FIRST_S + number * BETWEEN_S, 0))
        times.append(time.monotonic_ns())
        await say({"choices": [{"delta": {"content": f"t{number} "}}]})
    await say({"choices": [], "usage": {"completion_tokens": TOKENS}})
    await say("[DONE]", more=False)
    os.write(2, f"served {name} {' '.join(map(str, times))}\n".encode())


async def start_profile(_name: str, _body: bytes, send: Any) -> None:
    state["profiler"] = torch.profiler.profile()
    state["profiler"].start()
    await respond(send, 200, b"")


async def stop_profile(_name: str, _body: bytes, send: Any) -> None:
    state["profiler"].stop()
    state["profiler"].export_chrome_trace(
        str(Path(os.environ["VLLM_TORCH_PROFILER_DIR"]) / "worker.1.pt.trace.json.gz")
    )
    await respond(send, 200, b"")


async def respond(send: Any, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


PATHS: dict[str, Any] = {"/predict": predict, "/v1/chat/completions": complete}
if "VLLM_TORCH_PROFILER_DIR" in os.environ:
    PATHS |= {"/start_profile": start_profile, "/stop_profile": stop_profile}
