"""How to record differently, by the profiler that made the trace: rules speak of PyTorch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.advice import Finding

__all__ = ["in_words_of"]

NSIGHT: Final = {
    "PK303": "Record after a warm-up (`nsys profile --delay`, or `--capture-range=cudaProfilerApi`); it is paid once.",
    "PK901": "Record more of the host: `nsys profile --trace=cuda,nvtx,osrt --python-sampling=true`, and NVTX ranges.",
    "PK902": "Record less: fewer kinds in `--trace`, no sampling, no `--cuda-memory-usage`.",
    "PK903": "Record five steps or more, after a warm-up: `nsys profile --delay`, `--duration`.",
    "PK904": "Record later: `nsys profile --delay`, or `--capture-range=cudaProfilerApi`.",
}
OURS: Final = {
    "PK303": "Let more steps pass before it records (`--warmup 30`): it is paid once, not in every step.",
    "PK901": "Record Python's stacks, too (`--stacks`), or mark the parts of the program with `record_function`.",
    "PK902": "Record fewer steps (`--steps`), and stacks and shapes one at a time.",
    "PK903": "Record five steps or more: `--steps 6`.",
    "PK904": "Let more steps pass before it records: `--warmup 30`.",
}
OTHER: Final = {
    "PK303": "Record after a warm-up; it is paid once, not in every step.",
    "PK901": "This format tells no more: record the program with the PyTorch Profiler or Nsight Systems.",
    "PK902": "Record fewer kinds of events, over less time.",
    "PK903": "Record five runs or more, after a warm-up.",
    "PK904": "Record later, after a warm-up.",
}
WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "perfkit": OURS,
    "nsight-systems": NSIGHT,
    "nsight-systems-json": NSIGHT | {"PK901": "Export the report as SQLite: `nsys export --type sqlite`."},
    "rocprofv3": OTHER
    | {"PK901": "Record more of the host: `rocprofv3 --sys-trace --marker-trace`, and ROCTx ranges."},
    "onnxruntime": OTHER,
    "triton-server": OTHER,
    "trtexec": OTHER,
    "trtexec-profile": OTHER,
}
"""Format to the fix of each rule whose fix is another recording, where that is not PyTorch's."""


def in_words_of(recorded_as: str, finding: Finding) -> Finding:
    """Say how to repair a finding with the profiler that was used."""
    return finding._replace(fix=WORDS.get(recorded_as, {}).get(finding.rule, finding.fix))
