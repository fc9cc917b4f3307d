"""Attribution: every nanosecond of a window gets one owner, on every device and in integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from perfkit.attribute.assemble import assemble, read_timelines
from perfkit.attribute.host import Host
from perfkit.attribute.merge import Part, merge, merge_defects
from perfkit.attribute.places import Places
from perfkit.attribute.program import describe
from perfkit.attribute.rank import summarise_rank, summarise_ranks
from perfkit.attribute.requests import read_requests
from perfkit.attribute.selection import Selection
from perfkit.attribute.signs import read_signs
from perfkit.attribute.work import collect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.attribute.timeline import Reading
    from perfkit.model.attribution import Attribution
    from perfkit.model.picture import Picture
    from perfkit.model.program import Program
    from perfkit.model.trace import Trace

__all__ = [
    "Examined",
    "Part",
    "attribute",
    "examine",
    "merge",
    "merge_defects",
    "read_requests",
    "summarise_rank",
    "summarise_ranks",
]


class Examined(NamedTuple):
    """An attribution, and what it was made from: as large as the trace."""

    attribution: Attribution
    host: Host
    places: Places
    readings: Sequence[Reading]

    def program(self) -> Program:
        """Say what host and devices did, for a replay."""
        return describe(self.host, self.readings)

    def picture(self, proofs: Sequence[Sequence[int]] = ()) -> Picture:
        """Make the picture that a page draws; ``proofs`` are the rows to mark for each finding."""
        from perfkit.attribute.picture import draw

        return draw(self.host, self.places, self.readings, proofs=proofs)

    def selection(self) -> Selection:
        """Return what finds the events that a change to the program is about."""
        return Selection(self.host, self.places)


def attribute(trace: Trace, *, window: Literal["steps", "device-span"] = "steps") -> Attribution:
    """Attribute the time of a trace.

    Args:
        trace: A trace with the default fields at least.
        window: ``steps`` takes the recorded steps without the first (the device's span where there are none),
            ``device-span`` all of it from the first activity to the last.

    Returns:
        The attribution; without device activity it holds the busiest host thread, and without any event no timeline.
    """
    return examine(trace, window=window).attribution


def examine(trace: Trace, *, window: Literal["steps", "device-span"] = "steps") -> Examined:
    """Attribute the time of a trace, and keep what it was made from; takes what `attribute` does."""
    host = Host(collect(trace))
    places = Places(host)
    readings, source = read_timelines(host, places, window)
    host.layers.cache_clear()  # as large as the trace, and seldom asked for again
    host.waits.cache_clear()
    attribution = assemble(host, places, readings, source)._replace(signs=read_signs(host, places, readings))
    return Examined(attribution, host, places, readings)
