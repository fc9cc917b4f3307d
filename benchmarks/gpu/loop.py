"""A training loop that notes when each step ended: `python -m benchmarks.gpu.loop STEPS FILE`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import torch
from torch import nn


def main() -> None:
    """Train, and write nanoseconds since 1970, one for each step."""
    steps, path = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    width, batch = (1_024, 512) if device.type == "cuda" else (128, 64)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(6))).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    samples = torch.randn(batch, width, device=device)
    ended_ns = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(samples), samples)
        loss.backward()
        optimizer.step()
        loss.item()
        ended_ns.append(time.time_ns())
    path.write_text(json.dumps(ended_ns))


if __name__ == "__main__":
    main()
