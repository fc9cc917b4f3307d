"""Ways to read a trace, each run once in a process of its own: `python contestants.py NAME FILE` prints a JSON object.

Its values: ``seconds`` and ``cpu_seconds`` of the reading alone, ``peak_bytes`` of the process until then,
``import_bytes``, the peak once everything was imported, and ``count`` of what was read (events, or bytes for zlib).

A script, not a module: it runs with the interpreter of each contestant's environment, where only that is installed.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[str], int]

WARM_UP: Final = Path(__file__).parent.parent / "traces" / "healthy_cpu.json.gz"
"""A small trace, so that what a contestant imports late is imported before the clock starts."""

PIECE_BYTES: Final = 256 << 10
RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


def load() -> Read:
    """`perfkit.load` as it is installed."""
    import perfkit

    perfkit.load(WARM_UP)
    return lambda path: perfkit.load(path).events


def load_in_python() -> Read:
    """`perfkit.load` with the scanner that needs no compiler."""
    os.environ["PERFKIT_SCANNER"] = "python"
    return load()


def diagnose() -> Read:
    """`perfkit.diagnose`, from the file to the findings."""
    import perfkit

    perfkit.diagnose(WARM_UP)
    return lambda path: perfkit.diagnose(path).trace.events


def json_frame() -> Read:
    """The standard library's parser, then a DataFrame of the events."""
    import pandas as pd

    return lambda path: len(pd.DataFrame(_events(json.loads(_whole(path)))))


def orjson_frame() -> Read:
    """The fastest general parser on PyPI, then a DataFrame of the events."""
    import orjson
    import pandas as pd

    return lambda path: len(pd.DataFrame(_events(orjson.loads(_whole(path)))))


def zlib_alone() -> Read:
    """Decompression and nothing else, by the interpreter's own zlib."""
    import zlib

    def read(path: str) -> int:
        stream = zlib.decompressobj(wbits=31)
        size = 0
        with Path(path).open("rb", buffering=0) as file:
            while piece := file.read(PIECE_BYTES):
                size += len(stream.decompress(piece))
        return size

    return read


def hta() -> Read:
    """HolisticTraceAnalysis: what it does to load one file, with its defaults."""
    import logging
    import warnings

    from hta.common.trace import parse_trace_file

    logging.disable()
    warnings.simplefilter("ignore")

    def read(path: str) -> int:
        _, frame, _ = parse_trace_file(path)
        return len(frame)

    return read


CONTESTANTS: Final[dict[str, Callable[[], Read]]] = {
    "perfkit.load": load,
    "perfkit.load, Python scanner": load_in_python,
    "perfkit.diagnose": diagnose,
    "json.loads + DataFrame": json_frame,
    "orjson + DataFrame": orjson_frame,
    "HolisticTraceAnalysis": hta,
    "zlib alone": zlib_alone,
}


TABLES: Final = (
    "StringIds",
    "CUPTI_ACTIVITY_KIND_KERNEL",
    "CUPTI_ACTIVITY_KIND_MEMCPY",
    "CUPTI_ACTIVITY_KIND_MEMSET",
    "CUPTI_ACTIVITY_KIND_SYNCHRONIZATION",
    "CUPTI_ACTIVITY_KIND_RUNTIME",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE",
    "NVTX_EVENTS",
    "OSRT_API",
    "COMPOSITE_EVENTS",
    "PROFILER_OVERHEAD",
    "DIAGNOSTIC_EVENT",
)
"""The tables of an Nsight Systems export that perfkit makes rows of."""


def read_sql() -> Read:
    """The same tables as DataFrames, by pandas: neither names nor launches are looked up."""
    import sqlite3

    import pandas as pd

    def read(path: str) -> int:
        database = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
        there = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return sum(len(pd.read_sql(f"SELECT * FROM {name}", database)) for name in TABLES if name in there)

    return read


def nsys_ai(cache_mode: str = "direct") -> Read:
    """nsys-ai: its profile, opened by DuckDB where it lies, and the kernels of every device."""
    import contextlib
    import logging

    os.environ["HOME"] = tempfile.mkdtemp(dir=os.environ.get("BENCHMARK_FOLDER"))
    from duckdb_extensions import import_extension

    import_extension("sqlite_scanner")  # else DuckDB would download it within the time that is measured
    from nsys_ai.profile import Profile

    logging.disable()

    def read(path: str) -> int:
        with contextlib.redirect_stdout(sys.stderr), Profile(path, cache_mode=cache_mode) as profile:
            return sum(len(profile.kernels(device)) for device in profile.meta.devices)

    return read


def nsys_ai_cached() -> Read:
    """The same with its cache of Parquet files, which it makes beside the file."""
    return nsys_ai("parquet")


NSIGHT: Final[dict[str, Callable[[], Read]]] = {
    "perfkit.load": load,
    "perfkit.load, Python reader": load_in_python,
    "perfkit.diagnose": diagnose,
    "pandas read_sql": read_sql,
    "nsys-ai": nsys_ai,
    "nsys-ai, first cached": nsys_ai_cached,
}
"""Readers of Nsight Systems exports; each gets a copy of the file, because some write beside it."""


def _whole(path: str) -> bytes:
    if path.endswith(".gz"):
        with gzip.open(path) as file:
            return file.read()
    return Path(path).read_bytes()


def _events(document: Any) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = document["traceEvents"] if isinstance(document, dict) else document
    return events


def peak_bytes() -> int:
    """Return the largest resident size of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_UNIT


def main(name: str, path: str) -> None:
    """Measure one contestant on one file."""
    read = (CONTESTANTS | NSIGHT)[name]()
    if path.endswith(".sqlite"):
        path = shutil.copy(path, tempfile.mkdtemp(dir=os.environ.get("BENCHMARK_FOLDER")))
    import_bytes = peak_bytes()
    cpu, wall = time.process_time(), time.perf_counter()
    count = read(path)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    sample = {
        "seconds": round(seconds, 6),
        "cpu_seconds": round(cpu_seconds, 6),
        "peak_bytes": peak_bytes(),
        "import_bytes": import_bytes,
        "count": count,
    }
    sys.stdout.write(json.dumps(sample))


if __name__ == "__main__":
    main(*sys.argv[1:])
