from __future__ import annotations

import subprocess
import sys
import time
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
        while not Path(f"/proc/{process.pid}/environ").read_bytes():
            time.sleep(0.01)  # the process is there before its variables are
        found = look_at(process.pid)
        process.kill()
    assert (found.asks_every_s, found.uses_torch) == (every_s, False)
