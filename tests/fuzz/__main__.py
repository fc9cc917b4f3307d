"""Fuzzes the scanner, its twin and the diagnosis for a while: python -m tests.fuzz --seconds 600.

What fails is made small and saved. A child does the work: crashes, hangs and growing memory are seen from outside.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.fuzz import child
from tests.fuzz.inputs import open_inputs
from tests.fuzz.shrink import shrink

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

START_S = 60.0
SETTLED_INPUTS = 3000
LEAK_BYTES = 128 << 20
CRASH_SHRINK_S = 60.0
FAILURES = 20
SHOWN = 5
SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Campaign:
    """One run of the fuzzer."""

    seed: int
    folder: Path
    deadline_s: float
    failures: list[str] = field(default_factory=list)
    next_number: int = 0
    settled_bytes: int = 0

    def run(self, seconds: float) -> None:
        """Fuzzes for `seconds`, or until there is too much wrong to go on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self.failures) < FAILURES:
            self._run_child(end)

    def _run_child(self, end: float) -> None:
        """Lets one child work until `end`, or until it crashes or hangs: then the next one goes on after that input."""
        here, there = SPAWN.Pipe(duplex=False)
        current = SPAWN.Value("q", -1)
        process = SPAWN.Process(target=child.run, args=(self.seed, self.next_number, there, current), daemon=True)
        process.start()
        there.close()
        self.settled_bytes = 0
        seen, since = -1, time.monotonic()
        while time.monotonic() < end:
            if here.poll(0.2) and not self._take(here):
                break
            if current.value != seen:
                seen, since = current.value, time.monotonic()
            if time.monotonic() - since > (START_S if seen < 0 else self.deadline_s):
                break
        else:
            process.kill()
            process.join()
            return
        self._bury(process, current.value)

    def _take(self, here: Any) -> bool:
        """Takes a message; False if the child is gone."""
        try:
            number, resident, document, faults = here.recv()
        except EOFError:
            return False
        self.next_number = number + 1
        if document is not None:
            self._save("difference", document, faults)
        elif faults:
            say(*faults)
        if self.settled_bytes == 0 and number > SETTLED_INPUTS:
            self.settled_bytes = resident
        elif self.settled_bytes and resident > self.settled_bytes + LEAK_BYTES:
            self._save("leak", b"", [f"{resident - self.settled_bytes} bytes more than at input {SETTLED_INPUTS}"])
            self.settled_bytes = resident
        return True

    def _bury(self, process: SpawnProcess, number: int) -> None:
        """Records the input that a child crashed on or hung on, and goes on after it."""
        process.join(1)
        kind = "hang" if process.is_alive() else f"crash{process.exitcode}"
        process.kill()
        process.join()
        if number < 0:
            self._save(kind, b"", ["before the first input"])
            self.failures += ["the child cannot start"] * FAILURES
            return
        self.next_number = number + 1
        document = open_inputs(self.seed)[number]
        small = shrink(document, lambda text: self._ends_badly(text, number), CRASH_SHRINK_S)
        self._save(kind, small, [f"input {number} of seed {self.seed}"])

    def _ends_badly(self, document: bytes, number: int) -> bool:
        process = SPAWN.Process(target=child.check_one, args=(document, number), daemon=True)
        process.start()
        process.join(self.deadline_s)
        bad = process.exitcode != 0
        process.kill()
        process.join()
        return bad

    def _save(self, kind: str, document: bytes, faults: list[str]) -> None:
        name = f"{kind}-{hashlib.sha256(document).hexdigest()[:12]}"
        if name in self.failures:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}.json").write_bytes(document)
        (self.folder / f"{name}.txt").write_text("\n".join(faults) + "\n", encoding="utf-8", errors="replace")
        self.failures.append(name)
        say(
            f"{self.folder / name}.json, {len(document)} bytes: {document[:300]!r}",
            *"\n".join(faults).strip().splitlines()[-SHOWN:],
        )


def say(*lines: str) -> None:
    """Prints at once, so that a log shows where a run is."""
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """Reads the command line and fuzzes; the exit status says whether anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzzes the scanners and the diagnosis.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None, help="of the inputs; by default the time of day")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="folder for the inputs that fail")
    parser.add_argument("--deadline", type=float, default=30, help="seconds an input may take, shrinking included")
    given = parser.parse_args()
    seed = int(time.time()) if given.seed is None else given.seed
    campaign = Campaign(seed, given.out, given.deadline)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        os.environ["TMPDIR"] = place  # a child that is killed cleans nothing up
        campaign.run(given.seconds)
    took = time.monotonic() - begun
    say(f"{campaign.next_number} inputs of seed {seed} in {took:.0f} s, {len(campaign.failures)} failed")
    return 1 if campaign.failures else 0


if __name__ == "__main__":
    sys.exit(main())
