"""Kernels compile for GPUs that are not here, without spills; `make kernels` compiles all of them."""

from __future__ import annotations

import os

import pytest

from perfkit_kernels import KERNELS, Spec
from perfkit_kernels.compilation import CHIPS, compile_for

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter does not compile")


@pytest.mark.parametrize("spec", KERNELS, ids=lambda spec: spec.name)
def test_the_widest_compile_everywhere(spec: Spec) -> None:
    *_, widest = spec.compilations("bfloat16")
    for chip in CHIPS:
        done = compile_for(widest, chip)
        assert done.faults == ()
        assert done.registers > 0
