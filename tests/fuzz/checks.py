"""What must hold of every input: native and twin agree, however it is cut; nothing but a PerfkitError is raised."""

from __future__ import annotations

import json
import random
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from perfkit.errors import PerfkitError
from tests.fuzz.broken_databases import database_faults, is_database
from tests.fuzz.inputs import pack
from tests.fuzz.mutations import cuts
from tests.fuzz.outcome import (
    ALL_COLUMNS,
    DEFAULT_COLUMNS,
    TWIN,
    differences,
    native,
    no_plain_events,
    scan,
    small_batches,
)

DIAGNOSED, DATABASES_DIAGNOSED = 0.05, 0.3
"""The share of inputs that are diagnosed too."""

TERMINAL_CELLS = 80


class Checks:
    """The checks that can be made here: the compiled scanner and the pipeline may not be there."""

    def __init__(self) -> None:
        self.native = native()
        self.pipeline = find_spec("perfkit.pipeline.diagnose") is not None

    def __str__(self) -> str:
        scanners = "what is native against its twin" if self.native else "the twins against themselves"
        return scanners + (", and diagnoses" if self.pipeline else "")

    def fail(self, document: bytes, number: int) -> list[str]:
        """What is wrong with how the document is read, as input `number`; empty if nothing is."""
        database = is_database(document)
        found = database_faults(document) if database else self._compare(document, random.Random(number))
        rng = random.Random(-number - 1)  # of its own, so that a shorter document is still diagnosed, and packed alike
        if not found and self.pipeline and rng.random() < (DATABASES_DIAGNOSED if database else DIAGNOSED):
            found = diagnosis_faults(*(("export.sqlite", document) if database else pack(document, rng)))
        return found

    def _compare(self, document: bytes, rng: random.Random) -> list[str]:
        columns = rng.choice((ALL_COLUMNS, DEFAULT_COLUMNS))
        one = scan(self.native or TWIN, document, cuts(len(document), rng), columns)
        if rng.random() < 0.3:
            return differences(one, scan(TWIN, document, (), columns))
        with small_batches(rng.choice((1, 3, 64))):
            if rng.random() < 0.5:
                return differences(one, scan(TWIN, document, cuts(len(document), rng), columns))
            with no_plain_events():
                return differences(one, scan(TWIN, document, cuts(len(document), rng), columns))


def diagnosis_faults(name: str, content: bytes) -> list[str]:
    """What is wrong with the diagnosis of a file; a PerfkitError is no fault, any other exception passes through."""
    import perfkit
    from perfkit.report import json as json_report
    from perfkit.report import markdown, terminal
    from perfkit.report.pen import Pen

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        try:
            diagnosis = perfkit.diagnose(path)
        except PerfkitError:
            return []
    markdown.draw(diagnosis)
    shown = terminal.draw(diagnosis, Pen(width=TERMINAL_CELLS, colour=False, unicode=False))
    faults = [f"to the terminal: {line!r}" for line in shown.split("\n") if not (line.isascii() and line.isprintable())]
    timelines = json.loads(json_report.draw(diagnosis))["timelines"]
    return faults + [fault for timeline in timelines for fault in _account_faults(timeline)]


def _account_faults(timeline: dict[str, Any]) -> list[str]:
    """Every nanosecond of a timeline has one owner."""
    busy, idle = sum(timeline["busy"].values()), sum(timeline["idle"].values())
    if (busy, idle, busy + idle) == (timeline["busy_ns"], timeline["idle_ns"], timeline["window_ns"]):
        return []
    return [f"timeline {timeline['id']}: busy {busy} + idle {idle} ns, of a window of {timeline['window_ns']} ns"]
