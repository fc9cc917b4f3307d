"""The Diagnosis: what `perfkit diagnose` answers, ready to be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from perfkit.model.advice import Advice
    from perfkit.model.attribution import Attribution
    from perfkit.model.trace import Defect, Device, Trace

__all__ = ["Diagnosis", "TraceSummary"]


class TraceSummary(NamedTuple):
    """What a reader needs to know of the trace once its events are gone."""

    path: str
    format: str
    epoch_ns: int
    clock: str
    hardware: tuple[Device, ...]
    rank: int | None
    world_size: int | None
    events: int
    defects: tuple[Defect, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, trace: Trace) -> TraceSummary:
        """Keep what a reader needs to know of a trace, without its events."""
        return cls(
            path=trace.path,
            format=trace.format,
            epoch_ns=trace.epoch_ns,
            clock=trace.clock,
            hardware=trace.devices,
            rank=trace.rank,
            world_size=trace.world_size,
            events=trace.events,
            defects=trace.defects,
        )


class Diagnosis(NamedTuple):
    """A trace, where its time goes, and what follows from it."""

    trace: TraceSummary
    attribution: Attribution
    advice: Advice
