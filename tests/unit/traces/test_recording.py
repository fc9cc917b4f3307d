"""The parts of the recorder that need no torch."""

import datetime
import tomllib
from pathlib import Path

import pytest

from traces.record import manifest
from traces.record.program import Stopwatch
from traces.record.scrub import scrub

ROOTS = [Path("/home/jane/project"), Path("/opt/env/lib/python3.12"), Path("/opt/env/lib/python3.12/site-packages")]


@pytest.mark.parametrize(
    ("recorded", "scrubbed"),
    [
        ('{"name": "/home/jane/project/traces/loop.py(3): step"}', '{"name": "traces/loop.py(3): step"}'),
        ('{"name": "/opt/env/lib/python3.12/site-packages/torch/nn.py(1): f"}', '{"name": "torch/nn.py(1): f"}'),
        ('{"name": "/opt/env/lib/python3.12/enum.py(1): f"}', '{"name": "enum.py(1): f"}'),
        ('{"name": "/home/jane doe/my code/loop.py(3): f"}', '{"name": "<elsewhere>/loop.py(3): f"}'),
        (
            '{"file": "see /home/jane/.cache/kernel.cubin, /srv"}',
            '{"file": "see <elsewhere>/kernel.cubin, <elsewhere>/srv"}',
        ),
        ('{"host_name": "jane-laptop",', '{"host_name": "recorder",'),
        ('"traceName": "/tmp/x/trace.json"', '"traceName": "loop_cpu.json"'),
        ('{"name": "torch/nn.py(1): a/b", "q": "a \\"/\\" b"}', '{"name": "torch/nn.py(1): a/b", "q": "a \\"/\\" b"}'),
        ('{"ts": 1690000000000000.123, "dur": 0.500, "x": []}', '{"ts": 1690000000000000.123, "dur": 0.500, "x": []}'),
    ],
)
def test_scrub_takes_the_machine_out_and_nothing_else(recorded: str, scrubbed: str) -> None:
    assert scrub(recorded, "loop_cpu.json", ROOTS) == scrubbed


def test_manifest_keeps_other_entries_and_replaces_its_own(tmp_path: Path) -> None:
    path = tmp_path / "MANIFEST.toml"
    about: dict[str, manifest.Value] = {"scrubbed": "folders"}
    second: manifest.Entry = {"file": "b", "recorded": datetime.date(2026, 1, 2), "truth": {"rounds_step_ns": [3, 1]}}
    first: manifest.Entry = {"file": "a", "shows": 'a "quoted" µ\n', "with_stack": True, "truth": {"step_ns": 5}}
    manifest.update(path, second, about)
    manifest.update(path, {"file": "a", "shows": "older"}, about)
    manifest.update(path, first, about)
    assert tomllib.loads(path.read_text(encoding="utf-8")) == {"scrubbed": "folders", "trace": [first, second]}


def test_stopwatch_times_the_wait_for_an_item_and_not_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 10, 1000, 1020, 5000, 5003])
    monkeypatch.setattr("time.perf_counter_ns", lambda: next(clock))
    stopwatch = Stopwatch()
    assert list(stopwatch.over("ab")) == ["a", "b"]
    assert stopwatch.total_ns == 10 + 20 + 3
    stopwatch.reset()
    assert stopwatch.total_ns == 0
