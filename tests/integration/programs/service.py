"""A service that knows nothing of perfkit: an ASGI application with a model, and a thread at work beside it.

uvicorn tests.integration.programs.service:app --port 8000
"""

import json
import os
import threading
import time
from typing import Any

import torch

torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 8)).eval()


def beside() -> None:
    values = torch.ones(16)
    while True:
        torch.cumsum(values, 0)  # nothing else in here does that
        time.sleep(0.005)


threading.Thread(target=beside, daemon=True).start()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer ``POST /predict``; every other path is not found."""
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
    asked = await receive()
    if scope["path"] != "/predict":
        await respond(send, 404, {})
        return
    name = dict(scope["headers"]).get(b"x-perfkit-request", b"").decode()
    os.write(2, f"served {name or '?'} {os.getpid()}\n".encode())  # at once: other workers write to the same file
    rows = len(json.loads(asked["body"] or b'{"inputs": [0]}')["inputs"])
    with torch.inference_mode():
        await respond(send, 200, {"sum": model(torch.ones(rows, 64)).sum().item()})


async def respond(send: Any, status: int, said: dict[str, float]) -> None:
    """Answer in JSON."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(said).encode()})
