"""What recorded processes left becomes traces: compressed by either library, events of loader workers in them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from perfkit import load
from perfkit.record.collect import compress

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("missing", ["", "isal"])
def test_a_trace_is_compressed_and_holds_the_same(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    raw = tmp_path / "trace.json"
    events = [
        {"ph": "X", "cat": "cpu_op", "name": f"aten::{at}", "pid": 1, "tid": 1, "ts": at, "dur": 1}
        for at in range(9_000)
    ]
    raw.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    size = raw.stat().st_size
    packed = compress(raw, [])
    assert not raw.exists()
    assert packed.name == "trace.json.gz"
    assert packed.read_bytes()[:2] == b"\x1f\x8b"
    assert packed.stat().st_size < size / 4
    assert len(load(packed)) == len(events)
