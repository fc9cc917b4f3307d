"""What busy classes and idle causes are called in front of a person."""

from __future__ import annotations

from typing import Final

__all__ = ["cause_label", "kind_label"]

LABELS: Final = {
    "compute": "computing",
    "exposed_communication": "only communicating",
    "exposed_copy": "only copying",
    "data_loading": "waiting for data",
    "synchronization": "synchronization",
    "allocation": "memory allocation",
    "compilation": "compilation",
    "initialization": "initialization",
    "launch_overhead": "launch calls",
    "copy_submission": "submitting copies",
    "operator_dispatch": "dispatching operators",
    "host_compute": "computing on the host",
    "os_wait": "waiting for the OS",
    "python": "Python",
    "profiler_overhead": "the profiler",
    "no_request": "no request",
    "no_work": "waiting for work",
    "host_code": "other code on the host",
    "launch_latency": "launch latency",
    "queued_same_stream": "gaps within a stream",
    "queued_cross_stream": "waiting for a stream",
    "queued_in_graph": "gaps within a graph",
    "unattributed_host_silent": "unknown: host silent",
    "unattributed_no_launch": "unknown: no launch",
    "unattributed_edge": "unknown: trace's edge",
}


def cause_label(cause: str) -> str:
    """Return the words for a busy class or idle cause; one that is not known yet is spelled out."""
    return LABELS.get(cause) or cause.replace("_", " ")


KIND_LABELS: Final = {
    "call": "runtime call",
    "launch": "launch call",
    "wait": "call that waits for the device",
    "line": "Python",
    "overhead": "the profiler",
    "system": "call of the operating system",
}


def kind_label(kind: str) -> str:
    """Return the words for what an element of a timeline is."""
    return LABELS.get(kind) or KIND_LABELS.get(kind) or kind.replace("_", " ")
