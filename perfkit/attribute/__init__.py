"""Attribution: every nanosecond of a window gets one owner, on every device and in integers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from perfkit.attribute.assemble import assemble, read_timelines
from perfkit.attribute.host import Host
from perfkit.attribute.merge import Part, merge, merge_defects
from perfkit.attribute.places import Places
from perfkit.attribute.rank import summarise_rank, summarise_ranks
from perfkit.attribute.signs import read_signs
from perfkit.attribute.work import collect

if TYPE_CHECKING:
    from perfkit.model.attribution import Attribution
    from perfkit.model.trace import Trace

__all__ = ["Part", "attribute", "merge", "merge_defects", "summarise_rank", "summarise_ranks"]


def attribute(trace: Trace, *, window: Literal["steps", "device-span"] = "steps") -> Attribution:
    """Attribute the time of a trace.

    Args:
        trace: A trace with the default fields at least.
        window: ``steps`` takes the recorded steps without the first (the device's span where there are none),
            ``device-span`` all of it from the first activity to the last.

    Returns:
        The attribution; without device activity it holds the busiest host thread, and without any event no timeline.
    """
    host = Host(collect(trace))
    places = Places(host)
    readings, source = read_timelines(host, places, window)
    host.layers.cache_clear()  # as large as the trace, and not asked for any more
    host.waits.cache_clear()
    return assemble(host, places, readings, source)._replace(signs=read_signs(host, places, readings))
