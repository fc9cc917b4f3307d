"""Where kernels run in these tests: on a GPU, or in Triton's interpreter (`TRITON_INTERPRET=1`)."""

from __future__ import annotations

import os
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
triton = pytest.importorskip("triton", reason="triton is not installed")

from tests.kernels import rounding  # noqa: E402

INTERPRETING = os.environ.get("TRITON_INTERPRET") == "1"
if INTERPRETING:
    rounding.install()


@pytest.fixture(scope="session")
def device() -> Any:
    """The device on which kernels run; skips where there is none."""
    if torch.cuda.is_available() and not INTERPRETING:
        return torch.device("cuda")
    if not INTERPRETING:
        pytest.skip("needs a GPU, or TRITON_INTERPRET=1 for Triton's interpreter")
    return torch.device("cpu")
