"""The process that can crash, hang or leak: it makes the checks, and says how far it is."""

from __future__ import annotations

import itertools
import time
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fuzz.checks import Checks
from tests.fuzz.inputs import open_inputs
from tests.fuzz.shrink import shrink

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

REPORTED_S = 0.5
SHRINK_S = 10.0
STATUS = Path("/proc/self/statm")
PAGE_BYTES = 4096


def resident_bytes() -> int:
    """The memory in use by this process; 0 where it cannot be told."""
    return int(STATUS.read_text(encoding="ascii").split()[1]) * PAGE_BYTES if STATUS.exists() else 0


def faults_of(checks: Checks, document: bytes, number: int) -> list[str]:
    """The faults, an exception among them."""
    try:
        return checks.fail(document, number)
    except Exception:  # noqa: BLE001 - whatever it is, it is what is looked for
        return [traceback.format_exc()]


def signature_of(faults: list[str]) -> str:
    """What is the same for all inputs with one cause: where it was raised, or which facts differ."""
    if faults[0].startswith("Traceback"):
        lines = faults[0].strip().splitlines()
        return f"{[line for line in lines if line.startswith('  File ')][-1]}{lines[-1].split(':')[0]}"
    return " ".join(fault.split(":")[0] for fault in faults)


def run(seed: int, first: int, channel: Connection, current: Any) -> None:
    """Checks the inputs from number `first` on, for ever; `current` holds the number of the input in hand.

    Sends (number, resident bytes, None, []) now and then, and (number, bytes, document, faults) for the first failure
    of each kind.
    """
    checks = Checks()
    inputs = open_inputs(seed)
    channel.send((first, resident_bytes(), None, [f"{len(inputs.corpus)} documents to start from, checking {checks}"]))
    due = time.monotonic() + REPORTED_S
    known: set[str] = set()
    for number in itertools.count(first):
        current.value = number
        document = inputs[number]
        faults = faults_of(checks, document, number)
        if faults and signature_of(faults) not in known:
            known.add(signature_of(faults))
            small = shrink(document, partial(fails_again, checks, number), SHRINK_S)
            channel.send((number, resident_bytes(), small, faults_of(checks, small, number) or faults))
        elif time.monotonic() > due:
            channel.send((number, resident_bytes(), None, []))
            due = time.monotonic() + REPORTED_S


def fails_again(checks: Checks, number: int, document: bytes) -> bool:
    """Whether a smaller document fails too, cut as at first or in some other ways."""
    return any(faults_of(checks, document, number + 1_000_003 * attempt) for attempt in range(6))


def check_one(document: bytes, number: int) -> None:
    """Checks one document as input `number` is, to see whether it ends the process."""
    fails_again(Checks(), number, document)
