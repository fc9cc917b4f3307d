"""A small discrete-event model of a training program, whose attribution is known because the model made it."""

from __future__ import annotations

from tests.simulator.actions import Process, Workload
from tests.simulator.kineto import Style, write
from tests.simulator.machine import Machine
from tests.simulator.programs import PLANTED_CAUSES, Planted, planted, random_program
from tests.simulator.truth import Timeline, timelines

__all__ = [
    "PLANTED_CAUSES",
    "Machine",
    "Planted",
    "Process",
    "Style",
    "Timeline",
    "Workload",
    "planted",
    "random_program",
    "record",
    "timelines",
    "write",
]


def record(workload: Workload) -> Machine:
    """Runs a workload; the machine then holds the recording."""
    machine = Machine(workload)
    machine.run()
    return machine
