"""Training with nothing wrong: data on the device, large operators, a fused optimizer, no questions asked."""

from collections.abc import Iterator

import torch
from torch import nn

from traces.record.program import Program, Stopwatch

LAYERS = 3


def _train(device: torch.device, _: Stopwatch) -> Iterator[None]:
    width, batch = (4096, 4096) if device.type == "cuda" else (768, 512)
    torch.manual_seed(0)
    hidden = [layer for _ in range(LAYERS) for layer in (nn.Linear(width, width), nn.GELU())]
    model = nn.Sequential(*hidden, nn.Linear(width, width)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0001, fused=True)
    samples = torch.randn(batch, width, device=device)
    while True:
        loss = nn.functional.mse_loss(model(samples), samples)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


HEALTHY = Program(
    name="healthy",
    source="traces/record/healthy.py",
    shows="The device is busy from end to end while the host runs ahead: nothing here is worth repairing.",
    shows_on_cpu="The training thread is inside large operators all the time: nothing here is worth repairing.",
    fault="",
    steps=_train,
    repaired=None,
    with_stack=False,
)
