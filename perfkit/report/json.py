"""Writes a Diagnosis as JSON, to the contract in ``schema/diagnosis-1.json``: integer nanoseconds, a record a line."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import perfkit
from perfkit.report.outline import defects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Kernel, Step, Timeline
    from perfkit.model.diagnosis import Diagnosis, TraceSummary
    from perfkit.model.fleet import Fleet
    from perfkit.model.kernel_profile import KernelMeasure
    from perfkit.model.signs import Wait
    from perfkit.model.trace import Defect

__all__ = ["SCHEMA", "build", "draw", "write"]

SCHEMA: Final = "perfkit.diagnosis/1"
"""Name and major version of the contract; it changes when a reader of the old one would break."""


MOST_SHAPES: Final = 64
"""Shapes of an operator: of one that is called with more, they depend on the data, and tell nothing of the program."""


def draw(diagnosis: Diagnosis, *, top: int | None = None) -> str:
    """Return the JSON text, ASCII only, ending in a line break.

    Args:
        diagnosis: What to write.
        top: Rows of each table to keep; None keeps all.
    """
    return write(build(diagnosis, top=top))


def write(document: Mapping[str, Any]) -> str:
    """Return the text of a document, a record a line."""
    members = [f"{_dump(key)}: {_lines(value)}" for key, value in document.items()]
    return "{\n" + ",\n".join(members) + "\n}\n"


def build(diagnosis: Diagnosis, *, top: int | None = None) -> dict[str, Any]:
    """Return the document as plain dicts and lists.

    Args:
        diagnosis: What to write.
        top: Rows of each table to keep; None keeps all.
    """
    attribution, advice = diagnosis.attribution, diagnosis.advice
    measures = diagnosis.measures
    return {
        "schema": SCHEMA,
        "perfkit": perfkit.__version__,
        "verdict": advice.verdict,
        "timeline": advice.timeline,
        "trace": _trace(diagnosis.trace, defects(diagnosis)),
        "window": _window(attribution),
        "timelines": [_timeline(timeline) for timeline in attribution.timelines],
        "host": {
            "blocked": [row._asdict() for row in attribution.blocked[:top]],
            "waits": [_wait(row) for row in attribution.signs.waits[:top]],
        },
        "operators": [row._asdict() for row in attribution.operators[:top]],
        "kernels": [_kernel(row, measures.get(place)) for place, row in enumerate(attribution.kernels[:top])],
        "copies": [row._asdict() for row in attribution.copies[:top]],
        "collectives": [row._asdict() for row in attribution.collectives[:top]],
        "loader_workers": attribution.worker_time and attribution.worker_time._asdict(),
        "launches": [row._asdict() for row in attribution.launches],
        "blame": [row._asdict() for row in attribution.blame[:top]],
        "findings": [_finding(finding) for finding in advice.findings],
        "next_steps": list(advice.next_steps),
        "problems": list(advice.problems),
        "fleet": _fleet(diagnosis.fleet, top),
        "kernel_profiles": _profiles(diagnosis),
        "recording": _recording(diagnosis),
        "shapes": {name: shapes for name, shapes in diagnosis.shapes.items() if len(shapes) <= MOST_SHAPES},
        "energy": _energy(diagnosis),
        "load": _load(diagnosis),
    }


def _fleet(found: Fleet | None, top: int | None) -> dict[str, Any] | None:
    """Describe what many ranks say together."""
    if found is None:
        return None
    from perfkit.report import fleet  # few have one

    return fleet.build(found, top=top)


def _profiles(diagnosis: Diagnosis) -> list[dict[str, Any]]:
    """Describe profiled kernels."""
    if not diagnosis.profiles:
        return []
    from perfkit.report import profiles  # few have some

    return [profiles.build(kernel) for kernel in diagnosis.profiles]


def _energy(diagnosis: Diagnosis) -> dict[str, Any] | None:
    """Describe what the devices took."""
    if diagnosis.recording is None and diagnosis.carbon is None:
        return None
    from perfkit.report import energy  # few have some

    return energy.build(diagnosis)


def _recording(diagnosis: Diagnosis) -> dict[str, Any] | None:
    """Describe how the trace came to be."""
    if diagnosis.recording is None:
        return None
    from perfkit.report import recording  # few have one

    return recording.build(diagnosis.recording)


def _load(diagnosis: Diagnosis) -> dict[str, Any] | None:
    """Describe how a service did under load."""
    if diagnosis.load is None:
        return None
    from perfkit.report import load  # few have one

    return load.build(diagnosis.load)


def _trace(trace: TraceSummary, found: Iterable[Defect]) -> dict[str, Any]:
    """Describe the trace; absolute time is text, for it passes what a double can hold."""
    return {
        "path": trace.path,
        "format": trace.format,
        "epoch_ns": str(trace.epoch_ns),
        "clock": trace.clock,
        "hardware": [
            {"index": device.index, "name": device.name, "uuid": device.uuid, "properties": dict(device.properties)}
            for device in trace.hardware
        ],
        "rank": trace.rank,
        "world_size": trace.world_size,
        "events": trace.events,
        "notes": list(trace.notes),
        "defects": [asdict(defect) for defect in found],
    }


def _window(attribution: Attribution) -> dict[str, Any]:
    """Describe the window, with the steps of the first timeline."""
    window = attribution.window
    steps = attribution.timelines[0].steps if attribution.timelines else ()
    return {
        "kind": window.kind,
        "source": window.source,
        "dropped": list(window.dropped),
        "steps": [{"name": step.name, "start_ns": step.start_ns, "end_ns": step.end_ns} for step in steps],
    }


def _timeline(timeline: Timeline) -> dict[str, Any]:
    """Describe a timeline; busy and idle sum to ``window_ns``."""
    return {
        "id": timeline.id,
        "kind": timeline.kind,
        "window_kind": timeline.window_kind,
        "process": timeline.process,
        "rank": timeline.rank,
        "device": timeline.device,
        "device_name": timeline.device_name,
        "uuid": timeline.uuid,
        "start_ns": timeline.start_ns,
        "end_ns": timeline.end_ns,
        "window_ns": timeline.window_ns,
        "busy_ns": timeline.busy_ns,
        "busy": dict(timeline.busy),
        "kernel_union_ns": timeline.kernel_union_ns,
        "kernel_sum_ns": timeline.kernel_sum_ns,
        "communication_ns": timeline.communication_ns,
        "copy_ns": timeline.copy_ns,
        "idle_ns": timeline.idle_ns,
        "idle": dict(timeline.idle),
        "activities": timeline.activities,
        "unlinked_activities": timeline.unlinked_activities,
        "lead_in_ns": timeline.lead_in_ns,
        "lead_out_ns": timeline.lead_out_ns,
        "confidence": timeline.confidence,
        "confidence_reason": timeline.confidence_reason,
        "steps": [_step(step) for step in timeline.steps],
    }


def _step(step: Step) -> dict[str, Any]:
    """Describe a step of a timeline."""
    return {
        "name": step.name,
        "start_ns": step.start_ns,
        "end_ns": step.end_ns,
        "busy": dict(step.busy),
        "idle": dict(step.idle),
    }


def _wait(wait: Wait) -> dict[str, Any]:
    """Describe what waited for a device, without the rows of its calls."""
    record = wait._asdict()
    del record["rows"]
    return record


def _finding(finding: Finding) -> dict[str, Any]:
    """Describe a finding; the rest is for pictures, and for those who predict what a repair saves."""
    record = {**finding._asdict(), "evidence": list(finding.evidence), "assumptions": list(finding.assumptions)}
    record["replayed"] = finding.replayed_ns is not None
    for name in ("causes", "what_if", "records", "beyond_ns", "replayed_ns", "apart", "rows"):
        del record[name]
    return record


def _kernel(kernel: Kernel, measure: KernelMeasure | None) -> dict[str, Any]:
    """Describe a kernel; its kind is called ``class`` in the contract."""
    record = kernel._asdict()
    return {
        "name": record.pop("name"),
        "class": record.pop("kind"),
        **record,
        "measured": measure and measure._asdict(),
    }


def _lines(value: object) -> str:
    """Write a member's value, with the items of lists and mappings of records on lines of their own."""
    if isinstance(value, list) and value:
        return "[\n  " + ",\n  ".join(_dump(item) for item in value) + "\n]"
    if isinstance(value, dict) and value:
        return "{\n  " + ",\n  ".join(f"{_dump(key)}: {_dump(item)}" for key, item in value.items()) + "\n}"
    return _dump(value)


def _dump(value: object) -> str:
    """Write a value on one line."""
    return json.dumps(_clean(value), allow_nan=False)


def _clean(value: object) -> object:
    """Replace what JSON cannot hold: infinities and NaN become null, halves of surrogate pairs become U+FFFD."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return _clean_mapping(value)
    if isinstance(value, list | tuple):
        return [_clean(item) for item in value]
    return value


def _clean_mapping(mapping: Mapping[object, object]) -> dict[str, object]:
    """Replace what JSON cannot hold in keys and values."""
    return {str(_clean(str(key))): _clean(item) for key, item in mapping.items()}
