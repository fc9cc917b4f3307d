"""Every model of these tests is small, and the machine they run on is busy."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _everything_matters(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small a model of a test is, its sites are tried."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    monkeypatch.setattr("perfkit.fix.choose.LEAST_SHARE", 0.0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Any:
    """Tensors this small are not worth a second thread, which would spin on a busy machine."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
