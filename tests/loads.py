"""A service under load, as a Diagnosis holds it: latencies, a split, and rates that were tried."""

from __future__ import annotations

import random

from perfkit.model.load import Capacity, CapacityStep, Load, Objective, RequestSplit, Stretch
from perfkit.model.table import Table
from perfkit.serve.measure import NONE, quantiles

MS = 1_000_000


def stretch(rate: float, typical_ms: float, seed: int = 1) -> Stretch:
    """A stretch whose latencies are spread by half and more around a typical one."""
    rng = random.Random(seed)
    latency = quantiles(round(typical_ms * MS * rng.lognormvariate(0, 0.4)) for _ in range(400))
    return Stretch(rate, rate, 8.0, 400, 400, 398, {"timeout <b>": 2}, latency, NONE, late=False)


def load() -> Load:
    """All that can be said of a service."""
    parts = {
        "sending": 0.1,
        "queueing": 8.0,
        "host_preparation": 3.0,
        "device": 20.0,
        "device_wait": 2.0,
        "response": 1.0,
    }
    mean = {part: ms * MS for part, ms in parts.items()}
    split = RequestSplit(
        seconds=3.0,
        sent=60,
        marked=58,
        edge=2,
        lost=(),
        others=0,
        processes=1,
        elsewhere=0,
        split=58,
        mean_ns=mean,
        tail_ns={part: 2 * ns for part, ns in mean.items()},
        latency=NONE,
        linked="marks",
    )
    objective = Objective(0.99, 200 * MS)
    tried = ((10, 60, ""), (20, 70, ""), (40, 120, ""), (80, 900, "latency"))
    steps = Table(CapacityStep(stretch(rate, ms / 2), ms * MS, broke) for rate, ms, broke in tried)
    capacity = Capacity(objective, steps, 40.0, 80.0, "latency")
    return Load("http://127.0.0.1:8000/<script>", "poisson", stretch(20, 35), split=split, capacity=capacity)
