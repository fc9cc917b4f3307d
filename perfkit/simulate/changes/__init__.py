"""Changes to a program, made to what its graph is replayed with: one function for each kind of `WhatIf`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from perfkit.model import prediction
from perfkit.simulate.changes import device, host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perfkit.model.prediction import WhatIf
    from perfkit.simulate.replay import Run
    from perfkit.simulate.subject import Subject

__all__ = ["apply"]

FUNCTIONS: Final[Mapping[type, Callable[[Subject, Run, Any, int], int]]] = {
    prediction.CaptureGraph: device.capture_graph,
    prediction.FuseKernels: device.fuse_kernels,
    prediction.OverlapCollectives: device.overlap_collectives,
    prediction.OverlapCopies: device.overlap_copies,
    prediction.OverlapLoader: host.overlap_loader,
    prediction.RemoveHostTime: host.remove_host_time,
    prediction.RemoveSync: host.remove_sync,
    prediction.ScaleBatch: device.scale_batch,
    prediction.SpeedUp: device.speed_up,
    prediction.SpeedUpLoader: host.speed_up_loader,
}


def apply(subject: Subject, run: Run, change: WhatIf, assumed: int) -> int:
    """Make a change.

    Args:
        subject: The program.
        run: What it is replayed with; it is written to.
        change: The change.
        assumed: What to assume of all that the trace does not show: USUAL, SWIFT or SLOW.

    Returns:
        How many events it applied to.
    """
    return FUNCTIONS[type(change)](subject, run, change, assumed)
