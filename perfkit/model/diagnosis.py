"""The Diagnosis: what `perfkit diagnose` answers, ready to be drawn."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from perfkit.model.advice import Advice
    from perfkit.model.attribution import Attribution
    from perfkit.model.energy import Carbon, Energy
    from perfkit.model.fleet import Fleet
    from perfkit.model.kernel_profile import KernelMeasure, KernelProfile
    from perfkit.model.load import Load
    from perfkit.model.picture import Picture
    from perfkit.model.recording import Recording
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
    """A trace, where its time goes, and what follows from it.

    Attributes:
        trace: What was read.
        attribution: Where its time goes; of many ranks, the timelines of all, and tables summed over them.
        advice: What follows from it.
        fleet: What many ranks say together; None for a single one.
        profiles: Kernels that a profiler of single kernels measured.
        measures: What they say of the rows of the attribution's kernels, by place in that table.
        recording: How the trace came to be; None where that is not known.
        energy: What each device took over the window, where a sensor was read.
        carbon: What turns that into carbon, if it was asked for.
        picture: What the trace, or the collectives of many ranks, look like, where that was asked for.
        load: How a service did under load; None where none was put on it.
        shapes: For each operator how often it was called with which input shapes, where that was asked for and
            recorded.
    """

    trace: TraceSummary
    attribution: Attribution
    advice: Advice
    fleet: Fleet | None = None
    profiles: Table[KernelProfile] = Table()
    measures: Mapping[int, KernelMeasure] = MappingProxyType({})
    recording: Recording | None = None
    energy: tuple[Energy, ...] = ()
    carbon: Carbon | None = None
    picture: Picture | None = None
    load: Load | None = None
    shapes: Mapping[str, Mapping[str, int]] = MappingProxyType({})
