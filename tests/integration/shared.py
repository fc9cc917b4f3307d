"""Where the shared traces and oracles lie, for tests that use them when they are there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared"
TRACES = SHARED / "traces"

needs_shared = pytest.mark.skipif(not TRACES.is_dir(), reason="the shared traces are not beside this checkout")


def kineto_files(*, malformed: bool = False) -> list[str]:
    """Return the PyTorch Profiler traces, relative to TRACES."""
    folders = ["hta", "kineto", "param", "tracelens", *(["malformed"] if malformed else [])]
    found = [path for folder in folders for path in (TRACES / folder).rglob("*.json*")]
    return sorted(str(path.relative_to(TRACES)) for path in found)


def exact_unions() -> list[dict[str, int | str]]:
    """Return the oracle's answers, one a file."""
    lines = SHARED / "oracles" / "exact_union_ns.jsonl"
    return [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
