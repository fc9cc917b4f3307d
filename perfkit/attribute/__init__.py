"""Attribution: every nanosecond of a window gets one owner, on every device and in integers."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import numpy as np

from perfkit.attribute.blame import blocked
from perfkit.attribute.defects import find_defects
from perfkit.attribute.host import Host
from perfkit.attribute.host_timeline import read_host
from perfkit.attribute.kernels import collectives, copies, kernels, launch_delays
from perfkit.attribute.operators import host_operators, operators
from perfkit.attribute.places import Places
from perfkit.attribute.steps import find_marks
from perfkit.attribute.timeline import devices, read_device
from perfkit.attribute.work import collect
from perfkit.model.attribution import Attribution, Window
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.timeline import Reading
    from perfkit.model.attribution import Operator
    from perfkit.model.trace import Trace

    Ints = NDArray[np.int64]

__all__ = ["attribute"]


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
    readings, source = read_devices(host, places, window)
    if not readings:
        readings, source = read_host(host, places, window)
    host.layers.cache_clear()  # as large as the trace, and not asked for any more
    host.waits.cache_clear()
    inside = np.sort(np.concatenate([np.empty(0, np.int64), *(reading.inside for reading in readings)]))
    timelines = Table(reading.timeline for reading in readings)
    return Attribution(
        window=Window(
            kind=timelines[0].window_kind if timelines else "host-span",
            source=source,
            dropped=tuple(dict.fromkeys(name for reading in readings for name in reading.dropped)),
        ),
        timelines=timelines,
        blame=Table(entry for one in readings for entry in one.losses.table(one.timeline.id)),
        blocked=blocked(host, readings),
        operators=operator_table(host, places, readings, inside),
        kernels=kernels(host.work, inside),
        copies=copies(host.work, inside),
        collectives=collectives(host.work, inside),
        launches=launch_delays(host.work, readings),
        defects=find_defects(host, readings),
    )


def read_devices(host: Host, places: Places, window: Literal["steps", "device-span"]) -> tuple[list[Reading], str]:
    """Attribute every device; returns the readings and what the first one's steps were found from."""
    readings, sources = [], []
    marks_of = functools.cache(functools.partial(find_marks, host.work))
    for device in devices(host.work):
        marks = marks_of(device.process)
        reading = read_device(host, places, device, marks, window)
        readings.append(reading)
        sources.append(marks.source if reading.timeline.steps or window == "device-span" else "none")
    return readings, sources[0] if sources else "none"


def operator_table(host: Host, places: Places, readings: Sequence[Reading], inside: Ints) -> Table[Operator]:
    """Return operators by device time, or by their own host time where nothing ran on a device."""
    if not readings or readings[0].timeline.kind == "device":
        return operators(host.work, places, inside)
    line = readings[0].timeline
    return host_operators(host.work, places, readings[0].thread, line.start_ns, line.end_ns)
