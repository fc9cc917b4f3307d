"""`python -m benchmarks.record_cost`: what it takes a profiler to write down an event of a host thread.

Loops run with torch.profiler and without it in turns. What an event takes longer is compared with what perfkit reads
out of the trace alone: how close together events begin where they are closest. `perfkit.advise.unprofiled` has the
ratio.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks.machine import cpu_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROUNDS: Final = 9
STEPS: Final = 12
CALLS: Final = 200
"""So that a step takes a millisecond: the fastest of some is then disturbed by nobody."""


class Cost(NamedTuple):
    """What one event takes longer, ns; and in parts of what the trace alone says, the same; a value for each round."""

    events: float
    ns: list[float]
    ratio: list[float]


def loops() -> Iterator[tuple[str, bool, Callable[[], object]]]:
    """Yield loops of small work: what they do, whether stacks are recorded, and one step of it."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    row, square, other = torch.randn(512), torch.randn(32, 32), torch.randn(32, 32)
    bias, result = torch.randn(32), torch.empty(32, 32)
    image, layers = torch.randn(1, 4, 8, 8), [nn.Linear(32, 32) for _ in range(4)]
    network = nn.Sequential(nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 4))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    def train() -> None:
        for _ in range(2):
            optimizer.zero_grad()
            network(image).sum().backward()
            optimizer.step()

    yield "numbers read", False, lambda: [value.item() for value in row[:CALLS]]
    yield "a tensor taken apart", False, lambda: [row.unbind(0) for _ in range(2)]
    yield "views", False, lambda: [square.view(1024) for _ in range(CALLS)]
    # Into a tensor that is there: what a profiler keeps comes to lie between new ones, which then cost pages.
    yield "products", False, lambda: [torch.addmm(bias, square, other, out=result) for _ in range(CALLS)]
    yield "sums", False, lambda: [torch.add(square, other, out=result) for _ in range(CALLS)]
    yield "a network trained", False, train
    yield "layers, with stacks", True, lambda: [layer(square) for _ in range(CALLS // 20) for layer in layers]
    yield "a network trained, with stacks", True, train


def measure(loop: Callable[[], object], path: Path, *, stacks: bool) -> Cost:
    """Run a loop with the profiler and without it, in turns."""
    from torch.profiler import ProfilerActivity, profile

    from perfkit import load
    from perfkit.attribute import examine

    events, ns, ratio = 0.0, [], []
    for _ in range(ROUNDS):
        plain = timed(loop)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True, with_stack=stacks) as profiler:
            profiler.step()
            recorded = timed(loop, profiler.step)
        profiler.export_chrome_trace(str(path))
        (work,) = examine(load(path)).attribution.signs.works
        events = work.records / STEPS
        ns.append((recorded - plain) / events)
        ratio.append(ns[-1] / work.record_ns)
    return Cost(events, ns, ratio)


def timed(loop: Callable[[], object], after: Callable[[], Any] = lambda: None) -> float:
    """Return how long one step takes, ns: the fastest of some."""
    lasted = []
    for _ in range(STEPS):
        began = time.perf_counter_ns()
        loop()
        lasted.append(time.perf_counter_ns() - began)
        after()
    return float(min(lasted))


def main() -> None:
    """Measure all, and print the table."""
    print(f"what writing down an event takes, {cpu_model()}, {ROUNDS} rounds; median [least, most]")
    print(f"  {'':32} {'events':>7} {'ns an event':20} of what the trace says")
    every: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, stacks, loop in loops():
            loop()
            cost = measure(loop, Path(folder) / "trace.json", stacks=stacks)
            every.append(statistics.median(cost.ratio))
            print(f"  {name:32} {cost.events:7.0f} {spread(cost.ns, 0):20} {spread(cost.ratio, 2)}")
    print(f"  {'all':61} {spread(every, 2)}")


def spread(values: list[float], digits: int) -> str:
    """Give the median, the least and the most."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"


if __name__ == "__main__":
    main()
