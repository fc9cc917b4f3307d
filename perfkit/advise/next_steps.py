"""What to run, or to record differently, to learn more than this trace can tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline

__all__ = ["propose"]

FEW_STEPS: Final = 3
HOST_CAUSES: Final = frozenset(
    {"synchronization", "operator_dispatch", "launch_overhead", "host_compute", "os_wait", "python"}
)


class Asks(NamedTuple):
    """What to ask of a recording by a profiler: to show the device, the steps, the code; empty where it cannot."""

    device: str = ""
    steps: str = ""
    code: str = ""


IN_PYTORCH: Final = Asks(
    "If the program uses a GPU, record it too: `activities=[CPU, CUDA]`. This trace has host activity only.",
    "Call `profiler.step()` once an iteration: then times are given per step, without the warm-up.",
    "Record with `with_stack=True`: this trace does not name the lines of Python to blame.",
)
IN_NSIGHT: Final = Asks(
    "If the program uses a GPU, record it too: `nsys profile --trace=cuda,nvtx,osrt`. This trace has host activity "
    "only.",
    "Put an NVTX range around each iteration: then times are given per step, without the warm-up.",
    "Put NVTX ranges around the parts of the program, or `torch.autograd.profiler.emit_nvtx()`: then it is known which "
    "of them is to blame.",
)
OTHERS: Final = {
    "perfkit": Asks(code="Give `--stacks`: this trace does not name the lines of Python to blame."),
    "nsight-systems": IN_NSIGHT,
    "nsight-systems-json": Asks(
        code="Export the report as SQLite (`nsys export --type sqlite`): it says what launched each kernel."
    ),
    "rocprofv3": Asks(
        "If the program uses a GPU, record it too: `rocprofv3 --hip-trace --kernel-trace --memory-copy-trace`.",
        "Put a ROCTx range around each iteration (`--marker-trace`): then times are given per step.",
        "Put ROCTx ranges around the parts of the program (`--marker-trace`): then it is known which is to blame.",
    ),
    "onnxruntime": Asks(),
    "triton-server": Asks(code="Profile the model by itself to see what a request waits for while it is not computed."),
    "trtexec": Asks(),
    "trtexec-profile": Asks(steps="`trtexec --exportTimes` shows when the device idles between runs."),
}
"""Format to what to ask of it, where that is not PyTorch's."""


def propose(
    attribution: Attribution, timeline: Timeline | None, findings: Sequence[Finding], recorded_as: str = ""
) -> tuple[str, ...]:
    """Return sentences, the most useful first.

    Args:
        attribution: Where the time goes.
        timeline: The timeline that the advice is about.
        findings: What was found, largest first.
        recorded_as: The format of the trace.
    """
    ask = OTHERS.get(recorded_as, IN_PYTORCH)
    steps = []
    if findings:
        steps.append(f"`perfkit explain {findings[0].rule}`: what it means, and how to repair it.")
    if timeline is None:
        return tuple(steps)
    if timeline.kind == "host_thread":
        steps.append(ask.device)
    if attribution.window.source == "none":
        steps.append(ask.steps)
    elif 0 < len(timeline.steps) < FEW_STEPS:
        steps.append("Record five steps or more after a warm-up: with fewer, one odd step decides.")
    if findings and not has_lines(attribution):
        steps.append(ask.code)
    return tuple(filter(None, steps))


def has_lines(attribution: Attribution) -> bool:
    """Tell whether the trace names a line of Python for anything that Python could cause."""
    rows = [row for row in attribution.blame if row.cause in HOST_CAUSES]
    return not rows or any(row.where for row in rows)
