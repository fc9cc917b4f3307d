"""Hand-made pairs of diagnoses, and what lies between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perfkit.compare.diff import diff
from perfkit.model.attribution import Blame, Copy, Kernel, Operator, Timeline
from perfkit.model.difference import Run
from tests.diagnoses import HOSTILE, MS, attribution, diagnosis, hostile, timeline

if TYPE_CHECKING:
    from perfkit.model.difference import Difference

GEMM = "ampere_sgemm_128x64_tn"
ADD = "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>>(int)"
NORM = "void at::native::batch_norm_collect_statistics_kernel<float>()"
LOADER = "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"


def kernel(name: str, calls: int, ms: float, kind: str = "compute") -> Kernel:
    """Make a row of kernels."""
    return Kernel(name, kind, calls, round(ms * MS), round(ms * MS) // max(calls, 1), 0, 0, "")


def run(
    *lines: Timeline, path: str = "traces/job.json.gz", shapes: dict[str, dict[str, int]] | None = None, **tables: Any
) -> Run:
    """Make a run of timelines; by default a device that computes 60 ms and waits 40 ms for data in each of 4 steps."""
    plain = timeline({"compute": 240 * MS}, {"data_loading": 160 * MS}, steps=4)
    tables.setdefault("kernels", (kernel(GEMM, 40, 160), kernel(ADD, 400, 60), kernel(NORM, 40, 20)))
    trace = {name: tables.pop(name) for name in ("hardware", "world_size", "format", "rank") if name in tables}
    return Run(diagnosis(attribution(*(lines or (plain,)), **tables), path=path, **trace), shapes or {})


def with_steps(*lengths_ms: float, compute: float = 0.6) -> Timeline:
    """Make a device's timeline with steps of these lengths."""
    plain = timeline({"compute": MS}, {"data_loading": MS}, steps=1)
    steps, now, busy = [], 0, 0
    for at, length in enumerate(lengths_ms):
        end, part = now + round(length * MS), round(length * MS * compute)
        step = plain.steps[0]._replace(name=f"ProfilerStep#{3 + at}", start_ns=now, end_ns=end)
        steps.append(step._replace(busy={**plain.busy, "compute": part}, idle={"data_loading": end - now - part}))
        now, busy = end, busy + part
    whole = plain._replace(end_ns=now, busy={**plain.busy, "compute": busy}, idle={"data_loading": now - busy})
    return whole._replace(steps=type(plain.steps)(steps))


def faster() -> Difference:
    """Data loading is repaired, dispatch takes a little longer, one kernel is fused away and one runs twice as long."""
    before = run(
        with_steps(100, 101, 99, 100),
        path="base/job.json.gz",
        operators=(Operator("aten::add", "nn.Module: Block", "net.py(20): forward", 400, 60 * MS, 9 * MS, 400),),
        copies=(Copy("Memcpy HtoD (Pageable -> Device)", 8, 8 * MS, 64_000_000, 8e9),),
        blame=(Blame("71/0", "data_loading", LOADER, "71 python", "train.py(41): <module>", 160 * MS, 4),),
    )
    after = run(
        with_steps(70, 71, 69, 70, compute=0.9),
        path="head/job.json.gz",
        kernels=(kernel(GEMM, 80, 320), kernel(NORM, 40, 40), kernel("triton_poi_fused_add_0", 4, 2)),
        operators=(Operator("aten::add", "nn.Module: Block", "net.py(24): forward", 40, 6 * MS, MS, 40),),
        copies=(Copy("Memcpy HtoD (Pinned -> Device)", 8, 4 * MS, 64_000_000, 16e9),),
        blame=(Blame("71/0", "python", "train.py(55): log", "71 python", "train.py(55): log", 2 * MS, 4),),
    )
    return diff([before], [after])


def same() -> Difference:
    """Three runs a side of one program."""
    return diff(
        [run(with_steps(length, length)) for length in (100, 104, 97)],
        [run(with_steps(length, length)) for length in (101, 98, 103)],
    )


def slower() -> Difference:
    """Three runs a side; the head computes a fifth longer."""
    return diff(
        [run(with_steps(length, length, compute=0.5)) for length in (100, 101, 99)],
        [run(with_steps(length, length)) for length in (120, 121, 119)],
    )


def fixed_duration() -> Difference:
    """Two captures of 400 ms, of which the second holds a fifth less work."""
    line = timeline({"compute": 320 * MS}, {"operator_dispatch": 80 * MS})
    other = timeline({"compute": 256 * MS}, {"operator_dispatch": 144 * MS})
    return diff(
        [run(line, kernels=(kernel(GEMM, 100, 250), kernel(ADD, 1000, 70)))],
        [run(other, kernels=(kernel(GEMM, 80, 200), kernel(ADD, 800, 56)))],
    )


def nothing() -> Difference:
    """A trace against one without events."""
    return diff([run()], [Run(diagnosis(attribution(), hardware=()))])


def of_hostile_names() -> Difference:
    """Traces whose names are made to harm, in different order, so that everything changes."""
    base = hostile()
    renamed = HOSTILE[1:] + HOSTILE[:1]
    tables = base.attribution
    head = base._replace(
        attribution=tables._replace(
            kernels=type(tables.kernels)(
                row._replace(name=name) for row, name in zip(tables.kernels, renamed, strict=True)
            ),
            operators=type(tables.operators)(
                row._replace(name=name, device_ns=2 * row.device_ns)
                for row, name in zip(tables.operators, renamed, strict=True)
            ),
            blame=type(tables.blame)(row._replace(ns=3 * row.ns) for row in tables.blame),
        )
    )
    return diff([Run(base)], [Run(head)], allow=["duration"])
