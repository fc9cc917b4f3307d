"""What it costs a loop that perfkit watches it and does not record yet: `python -m benchmarks.recording_overhead`.

Blocks of steps with the agent's hooks in place and without them, in turns within one process (with, without, without,
with), on loops whose steps are short, so that the cost shows. The ratio of the two medians of each round, and the 95 %
interval of the median ratio by the bootstrap, go to results/.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from benchmarks.machine import cpu_model, file_name
from perfkit.record.agent.recorder import Recorder
from perfkit.record.agent.watch import watch_loaders, watch_optimizers, watch_profiler_steps

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 12
STEPS = 150
DRAWS = 4000
LOOPS = {"6 layers of 256": (256, 6), "6 layers of 384": (384, 6)}
"""Width and layers of a model."""


def loop(width: int, layers: int) -> Callable[[], None]:
    """Return a training loop over a DataLoader; a call is a block of steps."""
    model = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(layers)))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    data = torch.utils.data.TensorDataset(torch.randn(STEPS * 8, width))
    loader = torch.utils.data.DataLoader(data, batch_size=8)

    def block() -> None:
        for (batch,) in loader:
            optimizer.zero_grad()
            model(batch).sum().backward()
            optimizer.step()

    return block


def idle_recorder(folder: Path) -> Recorder:
    """Return a recorder with a warm-up that never ends."""
    plan = {"folder": str(folder), "steps": 5, "warmup": 1 << 40, "duration_s": None, "after_s": 0.0}
    return Recorder({**plan, "shapes": False, "stacks": False, "memory": False}, lambda: None)


def armed(recorder: Recorder) -> list[Any]:
    """Put the hooks in place, and return what takes them away."""
    return [watch_optimizers(recorder), watch_loaders(recorder), watch_profiler_steps(recorder)]


def timed(block: Callable[[], None]) -> float:
    """Return the seconds of a step."""
    begun = time.perf_counter()
    block()
    return (time.perf_counter() - begun) / STEPS


def measure(block: Callable[[], None], recorder: Recorder) -> dict[str, Any]:
    """Return the ratio of a step with hooks to one without, over rounds."""
    for _ in range(5):
        block()
    ratios, without = [], []
    for _ in range(ROUNDS):
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for watched in (True, False, False, True):
            undo = armed(recorder) if watched else []
            block()  # the interpreter has to get used to changed methods again
            seconds[watched].append(timed(block))
            for action in undo:
                action()
        ratios.append(sum(seconds[True]) / sum(seconds[False]))
        without += seconds[False]
    chance = random.Random(0)
    drawn = sorted(median(chance.choices(ratios, k=ROUNDS)) for _ in range(DRAWS))
    low, high = drawn[round(0.025 * DRAWS)], drawn[round(0.975 * DRAWS) - 1]
    return {
        "step_ms": round(1000 * median(without), 4),
        "ratio": round(median(ratios), 5),
        "interval_95": [round(low, 5), round(high, 5)],
        "rounds": ROUNDS,
        "steps_a_block": STEPS,
    }


def main() -> None:
    """Measure every loop, print the ratios, and keep them."""
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / ".work").mkdir()
        recorder = idle_recorder(Path(place))
        for name, size in LOOPS.items():
            found[name] = measure(loop(*size), recorder)
            print(name, found[name], flush=True)
    machine: dict[str, Any] = {"cpu": cpu_model(), "cores": os.cpu_count()}
    versions = {"torch": str(torch.__version__), "python": sys.version.split()[0]}
    results = Path(__file__).with_name("results") / f"recording-{file_name(machine)}"
    text = json.dumps({"machine": machine, **versions, "loops": found}, indent=1)
    results.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
