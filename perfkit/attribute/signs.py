"""Signs of faults, gathered from the events of each timeline for rules that look at nothing but an Attribution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perfkit.attribute.chains import chains
from perfkit.attribute.likeness import likeness
from perfkit.attribute.loaders import loaders
from perfkit.attribute.meetings import meetings
from perfkit.attribute.scene import Scene
from perfkit.attribute.stretches import stretches
from perfkit.attribute.transfers import transfers
from perfkit.attribute.updates import updates
from perfkit.attribute.waits import waits
from perfkit.attribute.widths import memory, width, work_of
from perfkit.model.signs import Signs
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.attribute.host import Host
    from perfkit.attribute.places import Places
    from perfkit.attribute.timeline import Reading

__all__ = ["read_signs"]


def read_signs(host: Host, places: Places, readings: Sequence[Reading]) -> Signs:
    """Gather the signs of every timeline."""
    scenes = [Scene(host, places, reading) for reading in readings]
    return Signs(
        chains=Table(row for scene in scenes for row in chains(scene)),
        updates=Table(row for scene in scenes for row in updates(scene)),
        transfers=Table(row for scene in scenes for row in transfers(scene)),
        waits=Table(row for scene in scenes for row in waits(scene)),
        loaders=Table(row for scene in scenes for row in loaders(scene)),
        stretches=Table(row for scene in scenes for row in stretches(scene)),
        widths=Table(width(scene) for scene in scenes),
        works=Table(work_of(scene) for scene in scenes),
        memory=Table(row for scene in scenes if (row := memory(scene)) is not None),
        likeness=Table(alike for scene in scenes if (alike := likeness(scene)) is not None),
        meetings=Table(row for scene in scenes for row in meetings(scene)),
    )
