"""Serving a recurrent model whose cell is written out in Python: hundreds of operators, each too small to matter."""

from collections.abc import Iterator

import torch
from torch import nn

from traces.record.program import Program, Stopwatch

TOKENS = 32
WIDTH = 64


def _prepare(device: torch.device) -> tuple[nn.LSTM, torch.Tensor]:
    """Return the model and one request, float32 [TOKENS, 1, WIDTH]."""
    torch.manual_seed(0)
    return nn.LSTM(WIDTH, WIDTH).to(device).eval(), torch.randn(TOKENS, 1, WIDTH, device=device)


def _serve_by_hand(device: torch.device, fault: Stopwatch) -> Iterator[None]:
    model, request = _prepare(device)
    while True:
        with fault, torch.inference_mode():
            hidden = torch.zeros(1, WIDTH, device=device)
            cell = torch.zeros(1, WIDTH, device=device)
            outputs = []
            for token in request:
                gates = nn.functional.linear(token, model.weight_ih_l0, model.bias_ih_l0)
                gates = gates + nn.functional.linear(hidden, model.weight_hh_l0, model.bias_hh_l0)
                into, forget, candidate, out = gates.chunk(4, dim=1)
                cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(candidate)
                hidden = torch.sigmoid(out) * torch.tanh(cell)
                outputs.append(hidden)
            torch.stack(outputs)
        yield


def _serve_fused(device: torch.device, _: Stopwatch) -> Iterator[None]:
    model, request = _prepare(device)
    while True:
        with torch.inference_mode():
            model(request)
        yield


LAUNCH_BOUND = Program(
    name="launch_bound",
    source="traces/record/launch_bound.py",
    shows="Each kernel is shorter than its launch: the device waits, hundreds of times, for the host to launch one.",
    shows_on_cpu="Several hundred operators of a few microseconds each: the step is spent dispatching, not computing.",
    fault="the recurrence written as one operator after another",
    steps=_serve_by_hand,
    repaired=_serve_fused,
    with_stack=False,
)
