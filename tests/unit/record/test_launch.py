from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from perfkit.record import launch
from perfkit.record.attach.target import look_at


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
@pytest.mark.parametrize(("own", "every_s"), [(False, 1), (True, 5)])
def test_a_ready_program_asks_every_second_unless_its_profiler_has_settings_of_its_own(
    own: bool, every_s: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KINETO_CONFIG", raising=False)
    monkeypatch.setattr(launch, "PROFILER_FILE", tmp_path if own else tmp_path / "none")
    variables = launch.ready()
    if not own:
        assert "INTERVAL_SECS = 1\n" in Path(variables["KINETO_CONFIG"]).read_text("utf-8")
    with subprocess.Popen(["sleep", "60"], env=variables) as process:
        try:
            found = look_at(process.pid)
        finally:
            process.kill()
    assert (found.asks_every_s, found.uses_torch) == (every_s, False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is Linux's")
def test_a_program_that_is_just_being_started_is_waited_for() -> None:
    with subprocess.Popen([sys.executable, "-m", "perfkit.cli", "run", "--", "sleep", "60"]) as process:
        try:
            found = look_at(process.pid)
        finally:
            process.kill()
    assert (found.program, found.asks_daemon) == ("sleep 60", True)
