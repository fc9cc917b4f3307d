"""A training loop that notes when each step ended: `python -m benchmarks.gpu.loop STEPS FILE`.

It ends after so many steps, or once there is a file of that name with ``.stop`` at its end. After the first ones there
is one with ``.began``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Final

SETTLED: Final = 30
"""Steps until the program runs as it goes on."""


def main() -> None:
    """Train, and write nanoseconds since 1970, one for each step."""
    import torch
    from torch import nn

    steps, path = int(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    width, batch = (1_024, 512) if device.type == "cuda" else (128, 64)
    model = nn.Sequential(*(nn.Sequential(nn.Linear(width, width), nn.GELU()) for _ in range(6))).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    samples = torch.randn(batch, width, device=device)
    stop = Path(f"{path}.stop")
    ended_ns: list[int] = []
    while len(ended_ns) < steps and not stop.exists():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(samples), samples)
        loss.backward()
        optimizer.step()
        loss.item()
        ended_ns.append(time.time_ns())
        if len(ended_ns) == SETTLED:
            Path(f"{path}.began").touch()
    path.write_text(json.dumps(ended_ns))


if __name__ == "__main__":
    main()
