"""One recorded run in both forms, and what of an attribution the two must agree in."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from tests import simulator
from tests.simulator import nsight

if TYPE_CHECKING:
    from perfkit.model.attribution import Attribution
    from tests.simulator import Machine


def cuda_run(seed: int) -> Machine:
    """A random recording that an Nsight export can carry whole: of a CUDA device, without Python stacks."""
    workload = dataclasses.replace(simulator.random_program(seed), vendor="cuda", stacks=False)
    return nsight.without_stacks(simulator.record(workload))


def facts(found: Attribution, epoch_ns: int) -> dict[str, object]:
    """What both forms say, by absolute times; names of threads and processes are each form's own."""
    lines = {
        line.device: (
            (line.window_kind, line.start_ns + epoch_ns, line.end_ns + epoch_ns, dict(line.busy), dict(line.idle)),
            (line.activities, line.unlinked_activities, line.kernel_sum_ns, line.kernel_union_ns),
            [(s.name, s.start_ns + epoch_ns, s.end_ns + epoch_ns, dict(s.busy), dict(s.idle)) for s in line.steps],
        )
        for line in found.timelines
    }
    return {
        "timelines": lines,
        "operators": sorted((o.name, o.calls, o.device_ns, o.host_ns, o.launches) for o in found.operators),
        "kernels": sorted((k.name, k.kind, k.calls, k.device_ns, k.max_ns) for k in found.kernels),
        "copies": sorted((c.kind, c.calls, c.device_ns, c.bytes) for c in found.copies),
        "blocked": sorted((b.cause, b.ns, b.calls) for b in found.blocked),
    }
