"""From what the processes of a program left behind to a folder of traces: loader workers put in, compressed."""

from __future__ import annotations

import gzip
import json
import random
import re
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import UnreadableTraceError, UsageError
from perfkit.model.recording import NOT_READ, RECORDING_FILE, WORK, RecordedProcess, Recording
from perfkit.model.table import Table
from perfkit.record.launch import unwritable

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence

    from perfkit.model.energy import SensorLog

__all__ = ["KILLED", "collect", "finish", "statuses"]

BASE: Final = re.compile(rb'"baseTimeNanoseconds"\s*:\s*(\d+)')
START: Final = re.compile(rb'"ts": (\d+)\.(\d{3})')
EVENTS: Final = re.compile(rb'"traceEvents"\s*:\s*\[')
HEAD_BYTES: Final = 1 << 20
STEP: Final = b'"ProfilerStep#'
KILLED: Final = "the program was killed"
"""How a recording ended of which nothing else is known."""
FEWEST_STEPS: Final = 3
DRAWS: Final = 2000
CHUNK_BYTES: Final = 1 << 20


def statuses(folder: Path) -> list[dict[str, Any]]:
    """Return what the processes of a recording said of themselves, by process id."""
    found = []
    for path in sorted((folder / WORK).glob("*.status")):
        try:
            said = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(said, dict) and isinstance(said.get("pid"), int):
            found.append(said)
    return sorted(found, key=lambda said: said["pid"])


def collect(folder: Path, command: Sequence[str], exit_status: int | None, sensors: SensorLog = NOT_READ) -> Recording:
    """Turn what was left in a folder into traces and a `Recording`; what was worked with is removed.

    Raises:
        UnreadableTraceError: The traces cannot be written.
    """
    try:
        processes = [process(folder, said) for said in statuses(folder)]
        processes.sort(key=lambda one: (not one.trace, one.rank or 0, one.pid))
        recording = Recording(" ".join(command), exit_status, Table(processes), sensors)
        said = {"command": list(command), "exit_status": exit_status, "processes": plain(processes)}
        text = json.dumps({**said, "sensors": sensors._asdict()})
        with whole_or_gone(folder / RECORDING_FILE):
            (folder / RECORDING_FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnreadableTraceError(unwritable(folder, error, kept=True)) from error
    shutil.rmtree(folder / WORK, ignore_errors=True)
    return recording


def finish(folder: Path) -> None:
    """Do what `perfkit record` would have done, had it not been killed or its disk been full, once its program ended.

    Raises:
        UnreadableTraceError: The traces cannot be written.
        UsageError: The program still runs.
    """
    said = statuses(folder)
    for process in said:
        if process.get("phase") != "ended" and Path(f"/proc/{process['pid']}").exists():
            message = f"{folder} is still recorded into, by process {process['pid']}: wait until that has ended"
            raise UsageError(message)
    with suppress(AttributeError, KeyError, TypeError, ValueError):  # it is not what perfkit wrote
        collect(folder, said[0]["program"].split() if said else (), None)


def plain(processes: Iterable[RecordedProcess]) -> list[dict[str, Any]]:
    """Return processes as JSON has them."""
    return [process._asdict() for process in processes]


def process(folder: Path, said: dict[str, Any]) -> RecordedProcess:
    """Make the trace of one process, and say how it came to be."""
    said = {"how": KILLED, "fault": "", "steps": 0, "seconds": {}, "counts": {}, **said}
    workers = sorted((folder / WORK).glob(f"{said['pid']}.*.worker.json"))
    raw, journal = folder / Path(said["trace"]).name, folder / WORK / Path(said["journal"]).name
    trace = ""
    if said.get("empty"):
        raw.unlink(missing_ok=True)
    if raw.exists():
        trace = compress(raw, workers, str(said.get("unfinished", ""))).name
    elif said["phase"] not in {"waiting", "prepared"} and not said.get("empty") and journal.exists():
        lost = said["fault"] or "the operators are lost with it"
        said["fault"] = f"{lost}; what is left are its steps, optimizer, data loading and requests"
        trace = from_journal(journal, workers, raw).name
        said["steps"] = sum(STEP in event for event in events_of(journal))
    counts: dict[str, int] = said["counts"]
    other = (*said.get("before_ns", ()), *said.get("after_ns", ()))
    during = tuple(said.get("during_ns", ()))
    return RecordedProcess(
        pid=said["pid"],
        rank=said["rank"],
        program=said["program"],
        trace=trace,
        steps=said["steps"],
        seen=max(counts.values(), default=0),
        source=said.get("source") or max(counts, key=lambda kind: counts[kind], default=""),
        how=said["how"],
        fault=said["fault"],
        other_step_ns=other,
        step_ns=during,
        slowdown=ratio(during, other),
        held_up=said["seconds"],
    )


def ratio(these: Sequence[int], those: Sequence[int]) -> tuple[float, float, float] | None:
    """Return the ratio of two means, and the ends of its 95 % interval by the bootstrap; None for too few numbers."""
    if min(len(these), len(those)) < FEWEST_STEPS:
        return None
    chance = random.Random(0)
    drawn = sorted(
        fmean(chance.choices(these, k=len(these))) / fmean(chance.choices(those, k=len(those))) for _ in range(DRAWS)
    )
    return fmean(these) / fmean(those), drawn[round(0.025 * DRAWS)], drawn[round(0.975 * DRAWS) - 1]


def _gzip(target: Path) -> Any:
    """Open a file to be compressed as fast as can be: by ISA-L, or by zlib where that is not installed."""
    try:
        from isal import igzip
    except ImportError:
        return gzip.open(target, "wb", compresslevel=1)
    opened: Any = igzip.open  # not typed
    return opened(target, "wb")


def compress(raw: Path, workers: Iterable[Path], unfinished: str = "") -> Path:
    """Compress a trace, with the events of loader workers put first, and remove the original.

    The step of the name ``unfinished`` is none: the program ended within it, or did something else until its end.
    """
    target = raw.with_name(f"{raw.name}.gz")
    with whole_or_gone(target), raw.open("rb") as file, _gzip(target) as out:
        head = file.read(HEAD_BYTES)
        events, base = EVENTS.search(head), BASE.search(head)
        if events is not None:
            added = worker_events(workers, int(base[1]) if base else 0)
            out.write(head[: events.end()] + b"".join(event + b",\n" for event in added))
            head = head[events.end() :]
        old, new = f'"{unfinished}"'.encode(), b'"after the last step"'
        kept = b""
        while chunk := head or file.read(CHUNK_BYTES):
            head, text = b"", kept + chunk
            if unfinished:
                text = text.replace(old, new)
                kept = text[max(len(text) - len(old) + 1, 0) :]
            out.write(text[: len(text) - len(kept)])
        out.write(kept)
    raw.unlink()
    return target


@contextmanager
def whole_or_gone(path: Path) -> Generator[None, None, None]:
    """Remove a file that cannot be written to its end."""
    try:
        yield
    except OSError:
        path.unlink(missing_ok=True)
        raise


def from_journal(journal: Path, workers: Iterable[Path], raw: Path) -> Path:
    """Make a trace of the journal of a process that was killed."""
    events = [*events_of(journal), *worker_events(workers, 0)]
    with whole_or_gone(raw):
        raw.write_bytes(b'{"traceEvents": [\n' + b",\n".join(events) + b"\n]}\n")
    return raw


def worker_events(journals: Iterable[Path], base_ns: int) -> Iterator[bytes]:
    """Yield the events of loader workers as a trace has them whose times count from ``base_ns``."""
    for journal in journals:
        named = False
        for event in events_of(journal):
            if not named:
                named = True
                yield process_name(event)
            yield START.sub(lambda found: b'"ts": %s' % shifted(found, base_ns), event, 1)


def shifted(found: re.Match[bytes], base_ns: int) -> bytes:
    """Return a time since 1970 as one since ``base_ns``, in microseconds."""
    whole, thousandths = divmod(int(found[1]) * 1000 + int(found[2]) - base_ns, 1000)
    return b"%d.%03d" % (whole, thousandths)


def process_name(event: bytes) -> bytes:
    """Return the event that names the process of a loader worker."""
    said = json.loads(event)
    name = f"DataLoader worker {said['args']['worker']}"
    return json.dumps(
        {"ph": "M", "name": "process_name", "pid": said["pid"], "tid": 0, "args": {"name": name}}
    ).encode()


def events_of(journal: Path) -> Iterator[bytes]:
    """Yield the text of each event of a journal; a last line that broke off is left out."""
    with journal.open("rb") as file:
        next(file, None)
        for line in file:
            event = line.strip().rstrip(b",")
            if event.endswith(b"}"):
                yield event
