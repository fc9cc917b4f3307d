"""Kernels compile for GPUs that are not here, without spills; `make kernels` compiles all of them."""

from __future__ import annotations

import os

import pytest
import torch

from perfkit_kernels import KERNELS, Spec
from perfkit_kernels.compilation import CHIPS, compile_for
from perfkit_kernels.generate import Generated, generate
from perfkit_kernels.generate.samples import SAMPLES, Sample
from perfkit_kernels.spec import Maker

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="the interpreter does not compile")


@pytest.mark.parametrize("spec", KERNELS, ids=lambda spec: spec.name)
def test_the_widest_compile_everywhere(spec: Spec) -> None:
    *_, widest = spec.compilations("bfloat16")
    for chip in CHIPS:
        done = compile_for(widest, chip)
        assert done.faults == ()
        assert done.registers > 0


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_generated_kernels_compile(sample: Sample) -> None:
    made = sample.make(Maker(torch.bfloat16), (64, 4_096))
    module = generate(sample.function, [value.requires_grad_(value.is_floating_point()) for value in made])
    assert isinstance(module, Generated)
    done = [compile_for(compilation, CHIPS[1]) for compilation in module.compilations()]
    assert len(done) == 2
    assert [one.faults for one in done] == [(), ()]
