"""Against numpy, which these stand in for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.model.arrays import distinct, quantile

INTEGERS = st.lists(st.integers(-(2**40), 2**40))


@given(INTEGERS)
def test_distinct(values: list[int]) -> None:
    assert distinct(np.array(values, np.int64)).tolist() == np.unique(np.array(values, np.int64)).tolist()


@given(INTEGERS.filter(bool), st.floats(0, 1))
def test_quantile(values: list[int], part: float) -> None:
    assert quantile(np.array(values, np.int64), part) == pytest.approx(np.quantile(values, part), rel=1e-9, abs=1e-3)


def test_a_diagnosis_of_a_small_trace_does_not_import_masked_arrays() -> None:
    code = "import sys, perfkit; perfkit.diagnose(sys.argv[1]); sys.exit('numpy.ma' in sys.modules)"
    trace = Path(__file__).parents[3] / "traces" / "loader_bound_cpu.json.gz"
    assert subprocess.run([sys.executable, "-c", code, trace], check=False).returncode == 0
