"""Every test of ingest runs with both scanners."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


@pytest.fixture(autouse=True, params=["native", "python"])
def scanner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The scanner in use."""
    name: str = request.param
    if name == "native" and find_spec("perfkit.ingest._scan") is None:
        pytest.skip("perfkit was installed without its native scanner")
    monkeypatch.setenv("PERFKIT_SCANNER", name)
    return name
