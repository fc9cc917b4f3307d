"""Writes traces of any size: one step is simulated and rendered once, then repeated with its times and ids moved on.

Each step ends with a device synchronization, so every step is the same but for when it is, and what is true of a trace
of n steps follows from traces of two and three steps.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from tests.simulator import actions as do
from tests.simulator.kineto import EPOCH_NS, Renderer, Style, frame
from tests.simulator.kineto import event_texts as render_events
from tests.simulator.machine import Machine
from tests.simulator.programs import Author
from tests.simulator.truth import Timeline, timelines

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TIME_DIGITS, IDENTITY_DIGITS, STEP_DIGITS = 19, 9, 6
TIME_MARK, IDENTITY_MARK, STEP_MARK = "\x01", "\x02", "\x03"
FIRST_IDENTITY, FIRST_STEP = 100_000_000, 100_000


@dataclass(frozen=True)
class Written:
    """What was written: bytes of JSON, rows of `traceEvents`, steps, and the truth over both windows.

    The truth's times are ns from the beginning, as a machine's are; the file adds EPOCH_NS to them.
    """

    json_bytes: int
    events: int
    steps: int
    device_span: Timeline
    device_steps: Timeline


class Blanks:
    """Numbers left blank, in marks of fixed width, and what they were."""

    def __init__(self) -> None:
        self.times: list[int] = []
        self.identities: list[int] = []

    def time(self, ns: int) -> str:
        """Blank decimal microseconds."""
        self.times.append(ns + EPOCH_NS)
        return f"{TIME_MARK * (TIME_DIGITS - 3)}.{TIME_MARK * 3}"

    def identity(self, number: int) -> str:
        """A blank id."""
        self.identities.append(number + FIRST_IDENTITY)
        return IDENTITY_MARK * IDENTITY_DIGITS


class Block:
    """A step's text with its blanks, to be filled for any repetition."""

    def __init__(self, text: bytes, blanks: Blanks) -> None:
        self._text = np.frombuffer(text, np.uint8).copy()
        self._times = np.array(blanks.times, np.int64)
        self._identities = np.array(blanks.identities, np.int64)
        self._time_at = self._where(TIME_MARK, TIME_DIGITS)
        self._identity_at = self._where(IDENTITY_MARK, IDENTITY_DIGITS)
        self._step_at = self._where(STEP_MARK, STEP_DIGITS)

    def _where(self, mark: str, digits: int) -> list[NDArray[np.int64]]:
        """The places of the last digit of every blank, then of the digit before it, and so on."""
        places = np.flatnonzero(self._text == ord(mark)).reshape(-1, digits)
        return [np.ascontiguousarray(places[:, at]) for at in range(digits - 1, -1, -1)]

    def fill(self, shift_ns: int, identity_shift: int, step: int) -> memoryview:
        """The text with the blanks filled; valid until the next call."""
        self._put(self._times + shift_ns, self._time_at)
        self._put(self._identities + identity_shift, self._identity_at)
        self._put(np.full(len(self._step_at[0]), step), self._step_at)
        return self._text.data

    def _put(self, values: NDArray[np.int64], places: list[NDArray[np.int64]]) -> None:
        # Three digits at a time in 32 bits: a 64-bit division costs several times as much.
        for first in range(0, len(places), 3):
            values, low = np.divmod(values, 1000)
            digits = low.astype(np.uint16)
            for place in places[first : first + 3]:
                digits, digit = np.divmod(digits, np.uint16(10))
                self._text[place] = digit + np.uint16(ord("0"))


def step_program(seed: int, sections: int) -> list[do.Action]:
    """One training step with a loader, copies, a forward, an autograd thread, collectives and an optimizer."""
    author = Author(seed, 1)
    author.communicates = True
    passes: list[do.Action] = []
    for _ in range(sections):
        forward = do.Frame("model.py(31): forward", [author.work(), do.Annotation("## forward ##", author.section(40))])
        passes += [forward, do.RunOn("autograd", author.section(40))]
    loader = do.Loader([do.Operator("aten::stack", [do.Work(author.around(60_000))]), author.work()])
    update = do.Annotation("Optimizer.step#AdamW.step", author.section(20))
    return [loader, author.copy(), *passes, update, do.Synchronize("device")]


def run_steps(step: list[do.Action], steps: int) -> Machine:
    """The machine after that many equal steps."""
    machine = Machine(do.Workload([do.Process(4242, [step] * steps, first_step=FIRST_STEP)], stacks=True))
    machine.run()
    return machine


def write_steps(path: Path, size: int, seed: int, style: Style | None = None, sections: int = 12) -> Written:
    """Writes whole steps until the JSON has at least `size` bytes (and two steps); .gz is compressed."""
    style = style or Style()
    step = step_program(seed, sections)
    machines = [run_steps(step, n) for n in (2, 3)]
    blanks = Blanks()
    separator = "," if style.layout == "compact" else ",\n  "
    texts = render_events(machines[1], Renderer(style, blanks), step=2)
    text = separator.join(texts).replace(f"#{FIRST_STEP + 1}", f"#{STEP_MARK * STEP_DIGITS}").encode()
    block = Block(text, blanks)
    marks = [row for row in machines[1].rows if row.name.startswith("ProfilerStep#")]
    period = marks[1].start - marks[0].start
    before, after = (machine.processes[0] for machine in machines)
    identities = max(
        after.correlation - before.correlation, after.external - before.external, after.frames - before.frames
    )
    head, tail = (part.encode() for part in frame(style, 0, [0]))
    steps = max(2, -(-(size - len(head) - len(tail)) // (len(text) + len(separator))))
    with cast("BinaryIO", gzip.open(path, "wb", 1) if path.suffix == ".gz" else path.open("wb")) as file:
        file.write(head)
        for at in range(steps):
            file.write(block.fill((at - 1) * period, at * identities, FIRST_STEP + at))
            file.write(separator.encode() if at + 1 < steps else b"")
        file.write(tail)
    written = len(head) + len(tail) + steps * len(text) + (steps - 1) * len(separator)
    truths = [[timelines(m, window)[0] for m in machines] for window in ("device-span", "steps")]
    span, stepwise = (extend(two, three, steps) for two, three in truths)
    return Written(written, steps * len(texts), steps, span, stepwise)


def extend(two: Timeline, three: Timeline, steps: int) -> Timeline:
    """The truth of `steps` equal steps, from that of two and of three."""

    def line(key: str, first: dict[str, int], second: dict[str, int]) -> int:
        return first.get(key, 0) + (steps - 2) * (second.get(key, 0) - first.get(key, 0))

    busy = {key: line(key, two.busy, three.busy) for key in three.busy}
    idle = {key: line(key, two.idle, three.idle) for key in three.idle}
    end = two.end_ns + (steps - 2) * (three.end_ns - two.end_ns)
    return Timeline(two.device, two.start_ns, end, busy, idle, three.unlinked_activities)
