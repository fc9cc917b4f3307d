from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gallery import simulated, table
from benchmarks.gallery.gain import Gain
from benchmarks.gallery.score import judge, tally

ROOT = Path(__file__).resolve().parents[3]


def document(*findings: tuple[str, int, int, int]) -> dict[str, Any]:
    """What `perfkit diagnose` prints of a window of 1000 ns: rule, saving and its interval in ns."""
    keys = ("rule", "saving_ns", "saving_low_ns", "saving_high_ns")
    return {
        "timelines": [{"id": "other", "window_ns": 7}, {"id": "gpu", "window_ns": 1000}],
        "findings": [{**dict(zip(keys, finding, strict=True)), "timeline": "gpu", "where": ""} for finding in findings],
    }


def gain(share: float) -> Gain:
    return Gain(share, share - 0.01, share + 0.01, 9, 1e6, 1e6 * (1 - share))


def test_a_fault_named_first_whose_gain_was_foretold() -> None:
    faulty = document(("PK101", 400, 350, 450), ("PK301", 20, 0, 20))
    score = judge("loader", ["PK101"], faulty, document(("PK301", 30, 0, 30)), gain(0.36))
    assert score.first
    assert score.among_first
    assert score.inside
    assert score.narrow
    assert not score.alarms
    assert all(line.holds for line in tally([score]))


def test_a_fault_named_third_with_a_wide_interval_that_misses_and_an_alarm() -> None:
    faulty = document(("PK301", 500, 0, 500), ("PK304", 450, 0, 450), ("PK101", 400, 350, 651))
    score = judge("loader", ["PK101"], faulty, document(("PK301", 31, 0, 31)), gain(0.34))
    assert (score.first, score.among_first, score.inside, score.narrow) == (False, True, False, False)
    assert [(found.rule, found.saving) for found in score.alarms] == [("PK301", 0.031)]
    assert [line.holds for line in tally([score])] == [False, True, False, False, False]


def test_a_fault_that_nothing_names() -> None:
    score = judge("loader", ["PK101"], document(), document(), gain(0.2))
    assert (score.first, score.among_first, score.inside, score.narrow) == (False, False, False, False)
    assert any("nothing" in line and "none" in line for line in table.draw("title", [score]))


def test_eleven_of_twelve_are_wanted() -> None:
    good = judge("good", ["PK101"], document(("PK101", 400, 350, 450)), document(), gain(0.4))
    bad = judge("bad", ["PK101"], document(), document(), gain(0.4))
    assert tally([good] * 11 + [bad])[0].holds
    assert not tally([good] * 10 + [bad] * 2)[0].holds


def test_faults_planted_in_the_simulator_are_named_first_and_nothing_is_found_without_them() -> None:
    scores = simulated.scores(1)
    assert list(scores) == [fault.name for fault in simulated.FAULTS]
    for (score,) in scores.values():
        assert score.first, score.name
        assert not score.alarms, score.name
        assert 0.01 < score.gain.share < 1
    lines = list(table.draw_simulated(scores))
    assert len(lines) == 2 + len(scores) + 5


def test_a_gain_is_that_of_quiet_rounds_and_an_interval_around_it() -> None:
    found = Gain.of([100.0, 200.0, 110.0, 400.0, 100.0], [80.0, 160.0, 80.0, 320.0, 90.0])
    assert found.share == pytest.approx(0.2)
    assert found.low < found.share < found.high
    assert (found.n, found.faulty_ns, found.repaired_ns) == (5, 100.0, 80.0)


def test_programs_and_their_twins_compute_the_same() -> None:
    pytest.importorskip("torch")
    command = [sys.executable, "-m", "benchmarks.gallery", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("same ") >= 12
