"""From the readings of timelines to an Attribution."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal

import numpy as np

from perfkit.attribute.blame import blocked
from perfkit.attribute.defects import find_defects
from perfkit.attribute.host_timeline import read_host
from perfkit.attribute.kernels import collectives, copies, kernels, launch_delays
from perfkit.attribute.operators import host_operators, operators
from perfkit.attribute.steps import find_marks
from perfkit.attribute.timeline import devices, read_device
from perfkit.attribute.worker_time import worker_time
from perfkit.model.attribution import Attribution, Window
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from perfkit.attribute.host import Host
    from perfkit.attribute.places import Places
    from perfkit.attribute.timeline import Device, Reading
    from perfkit.model.attribution import Operator

    Ints = NDArray[np.int64]

__all__ = ["assemble", "read_devices", "read_timelines"]


def read_timelines(host: Host, places: Places, window: Literal["steps", "device-span"]) -> tuple[list[Reading], str]:
    """Attribute every device, or the busiest host thread where there is none.

    Returns:
        The readings, and what the first one's steps were found from.
    """
    found = read_devices(host, places, window)
    if not found:
        return read_host(host, places, window)
    return [reading for _, reading, _ in found], found[0][2]


def read_devices(
    host: Host, places: Places, window: Literal["steps", "device-span"]
) -> list[tuple[Device, Reading, str]]:
    """Attribute every device; returns each with its reading and what its steps were found from."""
    marks_of = functools.cache(functools.partial(find_marks, host.work))
    found = []
    for device in devices(host.work):
        marks = marks_of(device.process)
        reading = read_device(host, places, device, marks, window)
        found.append((device, reading, marks.source if reading.timeline.steps or window == "device-span" else "none"))
    return found


def assemble(host: Host, places: Places, readings: Sequence[Reading], source: str) -> Attribution:
    """Put an attribution together from readings; ``source`` is what the steps of the first one were found from."""
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
        worker_time=worker_time(host.work),
    )


def operator_table(host: Host, places: Places, readings: Sequence[Reading], inside: Ints) -> Table[Operator]:
    """Return operators by device time, or by their own host time where nothing ran on a device."""
    if not readings or readings[0].timeline.kind == "device":
        return operators(host.work, places, inside)
    line = readings[0].timeline
    return host_operators(host.work, places, readings[0].thread, line.start_ns, line.end_ns)
