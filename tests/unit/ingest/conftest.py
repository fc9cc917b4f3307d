"""The two scanners, for tests that must hold with either."""

from __future__ import annotations

from importlib.util import find_spec

import pytest


@pytest.fixture(params=["native", "python"])
def scanner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Use one scanner, then the other; gives its name."""
    name: str = request.param
    if name == "native" and find_spec("perfkit.ingest._scan") is None:
        pytest.skip("perfkit was installed without its native scanner")
    monkeypatch.setenv("PERFKIT_SCANNER", name)
    return name
