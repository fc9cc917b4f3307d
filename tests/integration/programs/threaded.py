"""A service that knows nothing of perfkit, whose endpoint is a plain function: Starlette runs it on a pool of threads.

uvicorn tests.integration.programs.threaded:app --port 8000
"""

import torch
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

torch.set_num_threads(1)
model = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(8))).eval()


def predict(_: Request) -> JSONResponse:
    """Answer with a number of the model, whose work is several times what the server itself does for a request."""
    with torch.inference_mode():
        return JSONResponse({"sum": sum(model(torch.ones(256, 256)).sum().item() for _ in range(4))})


app = Starlette(routes=[Route("/predict", predict, methods=["GET", "POST"])])
