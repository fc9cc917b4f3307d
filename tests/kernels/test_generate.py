"""Generated kernels, held to the function they were generated for; and what is refused."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812  as everybody does
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.checkpoint import checkpoint

from perfkit_kernels.generate import Generated, Refusal, generate
from perfkit_kernels.generate.part import Part
from perfkit_kernels.generate.samples import SAMPLES, Sample
from perfkit_kernels.spec import DTYPES, Maker
from tests.kernels import agreement
from tests.kernels.agreement import Calls, differentiable, evaluate
from tests.kernels.test_numerics import every_other, spoilers, transposed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the interpreter computes with numpy

SHAPES = {
    "float32": ((1, 1), (3, 7), (2, 3, 5, 64), (5, 257), (2, 2_053)),
    "float16": ((2, 3, 5, 64), (5, 257)),
    "bfloat16": ((1, 1), (3, 7)),
}
LONG = (2, 20_011)
EXAMPLES = int(os.environ.get("PERFKIT_EXAMPLES", "12"))
CASES = [
    pytest.param(sample, dtype, shape, id=f"{sample.name}-{dtype}-{shape}")
    for sample in SAMPLES
    for dtype in DTYPES
    for shape in SHAPES[dtype]
]


@pytest.fixture(autouse=True)
def only_kernels(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fail where PyTorch computes what a kernel should."""

    def plain(*_: Any) -> Any:
        pytest.fail("the kernel was passed by")

    if "device" in request.fixturenames:
        monkeypatch.setattr(Part, "plain", plain)


def made(function: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> Generated:
    """Generate a kernel, that has to fit."""
    wanted = differentiable(tuple(inputs))
    module = generate(function, wanted)
    assert isinstance(module, Generated), module
    assert module.fits(wanted)
    return module


def drawing(sample: Sample, dtype: str, device: Any, shape: tuple[int, ...]) -> Callable[[int], Any]:
    """Return what makes inputs of a seed."""
    return lambda seed: sample.make(Maker(getattr(torch, dtype), device, seed), shape)


@pytest.mark.parametrize(("sample", "dtype", "shape"), CASES)
def test_agrees_with_float64(device: Any, sample: Sample, dtype: str, shape: tuple[int, ...]) -> None:
    draw = drawing(sample, dtype, device, shape)
    agreement.check(made(sample.function, draw(0)), sample.function, draw)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_rows_too_long_to_be_held(device: Any, sample: Sample) -> None:
    draw = drawing(sample, "bfloat16", device, LONG)
    agreement.check(made(sample.function, draw(0)), sample.function, draw)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_any_strides(device: Any, sample: Sample) -> None:
    for form in (every_other, transposed):
        draw = agreement.changed(drawing(sample, "bfloat16", device, (3, 4, 48)), form)
        agreement.check(made(sample.function, draw(0)), sample.function, draw)


@pytest.mark.parametrize("dtype", ["float32", "float16"])  # bfloat16 has the range of the former
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_hostile_values_behave_as_in_eager(device: Any, sample: Sample, dtype: str) -> None:
    draw = drawing(sample, dtype, device, (3, 4, 48))
    module = made(sample.function, draw(0))
    for spoil in spoilers((0.0, 1e4, -1e4, math.nan, math.inf, -math.inf)):
        agreement.check(module, sample.function, agreement.changed(draw, spoil))


@pytest.mark.parametrize("exponent", [0.3, -1.7, 2.5, 9, 12, -11])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_powers(device: Any, dtype: str, exponent: float) -> None:
    def region(x: torch.Tensor) -> torch.Tensor:
        return x**exponent * 2

    def draw(seed: int) -> tuple[torch.Tensor, ...]:
        x = Maker(getattr(torch, dtype), device, seed).normal(6, 40)
        return (x if isinstance(exponent, int) else x.abs(),)

    module = made(region, draw(0))
    agreement.check(module, region, draw)
    for spoil in spoilers((0.0, -3.0, 1e4, math.nan, math.inf, -math.inf)):
        agreement.check(module, region, agreement.changed(draw, spoil))


# -------------------------------------------------------------------------------------------------- as an operator


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tensors of the CPU take the way of those of a GPU, with the operators' plain kernels."""
    monkeypatch.setattr("perfkit_kernels.generate.operator.usable", lambda *_: True)


def generated(sample: Sample, shape: tuple[int, ...] = (3, 4, 48)) -> tuple[Generated, tuple[torch.Tensor, ...]]:
    """Return a generated module, and inputs for it."""
    inputs = tuple(differentiable(sample.make(Maker(torch.float32), shape)))
    return made(sample.function, inputs), inputs


def close(module: Callable[..., Any], function: Callable[..., Any], inputs: tuple[torch.Tensor, ...]) -> None:
    """Hold outputs and gradients in float32 to each other."""
    pairs = zip(evaluate(module, inputs).tensors, evaluate(function, inputs).tensors, strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_operators_are_what_pytorch_expects(sample: Sample) -> None:
    module, inputs = generated(sample)
    with Calls() as calls:
        close(module, sample.function, inputs)
    assert tuple(dict.fromkeys(str(function.name()) for function, _ in calls.made)) == module.operators
    calls.check()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself, while it traces
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_compiled_exported_checkpointed(sample: Sample) -> None:
    module, inputs = generated(sample)
    close(torch.compile(module, fullgraph=True, backend="aot_eager"), sample.function, inputs)
    close(lambda *given: checkpoint(module, *given, use_reentrant=False), sample.function, inputs)
    with torch.no_grad():
        program = torch.export.export(module, tuple(value.detach() for value in inputs))
    assert any("perfkit" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
@pytest.mark.usefixtures("as_on_a_gpu")
def test_second_derivatives_are_those_of_the_function(sample: Sample) -> None:
    module, inputs = generated(sample)
    found = []
    for function in (module, sample.function):
        outputs = function(*inputs)
        first = outputs[1] if isinstance(outputs, tuple) else outputs
        slope = torch.autograd.grad(first.square().sum(), inputs[0], create_graph=True)[0]
        found.append(torch.autograd.grad(slope.square().sum(), inputs[0])[0])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-3)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_steps_aside_for_what_it_was_not_generated_for() -> None:
    sample = SAMPLES[-1]
    x, row = torch.randn(4, 6, requires_grad=True), torch.randn(4, 1)
    module = generate(sample.function, [x, x, row])
    assert isinstance(module, Generated)
    assert module.fits([x, x, row])
    assert not module.fits([x[:3], x[:3], row[:3]])
    assert not module.fits([x.double(), x.double(), row.double()])
    assert not module.fits([x.mT.contiguous().mT, x, row])
    assert not module.fits([x, x, row.requires_grad_()])
    with torch.no_grad():
        assert module.fits([x, x, row])
    with torch.autocast("cpu", torch.bfloat16):
        assert not module.fits([x.detach(), x.detach(), row.detach()])
    assert module(x[:3], x[:3], row[:3])[0].shape == (3, 6)


@pytest.mark.usefixtures("as_on_a_gpu")
def test_under_autocast_it_casts_as_eager_does() -> None:
    def region(x: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x * row, -1).exp() + row

    x, row = torch.randn(4, 6, dtype=torch.bfloat16, requires_grad=True), torch.randn(4, 1)
    with torch.autocast("cpu", torch.bfloat16):
        module = generate(region, [x, row])
        assert isinstance(module, Generated)
        assert module.fits([x, row])
        one, other = module(x, row), region(x, row)
    assert one.dtype == other.dtype
    torch.testing.assert_close(one, other)
    assert not module.fits([x, row])


# -------------------------------------------------------------------------------------------------------- refusals

X = torch.randn(3, 4, 5)
REFUSED: dict[str, tuple[Callable[..., Any], torch.Tensor]] = {
    "alias": (lambda x: x.view(12, 5), X),
    "data-dependent": (lambda x: x[x > 0] * 2, X),
    "data-dependent: a number": (lambda x: x * x.sum().item(), X),
    "dtype": (lambda x: x * 2, X.double()),
    "mutation": (lambda x: x.add_(1), X),
    "operator": (lambda x: x.cumsum(-1), X),
    "operator: a power": (lambda x: x.abs() ** x, X),
    "operator: a product": (lambda x: x @ x.mT, X),
    "operator: a shape": (lambda x: (x * 2).reshape(12, 5).exp(), X),
    "random": (lambda x: F.dropout(x) * 2, X),
    "reductions": (lambda x: x.sum(-1, keepdim=True) * x.amax((-2, -1), keepdim=True) * x, X),
    "reductions: not the last": (lambda x: x / x.sum(0, keepdim=True), X),
    "reductions: twice": (lambda x: x.exp().sum(-1).exp().sum(), X),
    "shape": (lambda x: x * 2, X[:0]),
    "trace": (lambda _: 3, X),
    "trace: tensors of its own": (lambda x: x * X, X),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    function, x = REFUSED[name]
    refusal = generate(function, [x])
    assert isinstance(refusal, Refusal), refusal.source
    assert refusal.name == name.split(":", maxsplit=1)[0], refusal
    assert refusal.reason


def test_bytes_are_counted() -> None:
    x, weight = torch.randn(6, 8, dtype=torch.bfloat16), torch.randn(8, dtype=torch.bfloat16)
    kept = generate(lambda x: torch.exp(x * 2), [x.requires_grad_()])
    assert isinstance(kept, Generated)
    assert kept.eager_bytes == 2 * (48 + 48) + 2 * (48 + 48)
    assert kept.traffic == (2 * (48 + 48), 2 * (48 + 48 + 48))  # x, y; dy, y, dx
    assert "kept" not in kept.source
    recomputed = generate(lambda x, w: torch.exp(x * w), [x, weight.requires_grad_()])
    assert isinstance(recomputed, Generated)
    assert recomputed.traffic == (2 * (48 + 8 + 48), 2 * (48 + 48 + 8 + 48) + 4 * 8)  # dy, x, w, dx; dw in float32
    assert "moves 208 bytes" in recomputed.source
    stored = generate(lambda x: (x.float() * 2).sum(-1).exp() * 3, [x])
    assert isinstance(stored, Generated)
    assert "kept" in stored.source  # a number for each row, cheaper than the rows


# ---------------------------------------------------------------------------------------------------------- at random

ONES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "neg": torch.neg,
    "abs": torch.abs,
    "square": torch.square,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "softplus": F.softplus,
    "exp": lambda x: torch.exp(-x.abs()),
    "sqrt": lambda x: torch.sqrt(x * x + 1),
    "rsqrt": lambda x: torch.rsqrt(x * x + 0.5),
    "log1p": lambda x: torch.log1p(x * x),
    "sin": torch.sin,
    "scale": lambda x: x * 0.125 + 1,
    "float": lambda x: x.float() * 0.5,
}
TWOS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": lambda x, y: x / (1 + y * y),
    "lerp": lambda x, y: torch.lerp(x, y.to(x.dtype), 0.25),
}
ROWS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "mean": lambda x: x.mean(-1, keepdim=True),
    "sum": lambda x: x.sum(-1, keepdim=True) * 0.1,
    "var": lambda x: x.var(-1, keepdim=True, unbiased=False),
    "softmax": lambda x: torch.softmax(x, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "logsumexp": lambda x: torch.logsumexp(x, -1, keepdim=True),
    "rms": lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5),
}
FORMS = ((slice(None), slice(None)), (slice(1), slice(None)), (slice(None), slice(1)), (slice(1), slice(1)))
Step = tuple[str, int, int]


@st.composite
def regions(draw: st.DrawFn) -> tuple[list[Step], list[int], tuple[int, ...]]:
    """Draw the steps of a region, the forms of its inputs, and its shape."""
    count = draw(st.integers(1, 8))
    names = [draw(st.sampled_from([*ONES, *TWOS, *TWOS])) for _ in range(count)]
    if draw(st.booleans()):
        names[draw(st.integers(0, count - 1))] = draw(st.sampled_from([*ROWS]))
    forms = [0, *draw(st.lists(st.integers(0, 3), max_size=3))]
    steps = [(name, draw(st.integers(0, len(forms) + 7)), draw(st.integers(0, len(forms) + 7))) for name in names]
    shape = draw(st.sampled_from([(1, 1), (2, 3, 5), (7, 64), (3, 131), (1, 1030)]))
    return steps, forms, shape


def region_of(steps: list[Step]) -> Callable[..., torch.Tensor]:
    """Return the function of some steps, each of values before it, most often the last; all has the first's shape."""

    def region(*inputs: torch.Tensor) -> torch.Tensor:
        values = [*inputs]
        for name, one, other in steps:
            first = values[-1 - one % len(values)] if one % 3 else values[-1]
            second = values[other % len(values)]
            values.append(TWOS[name](first, second) if name in TWOS else (ONES | ROWS)[name](first))
        return values[-1] + inputs[0]

    return region


@pytest.mark.parametrize("dtype", DTYPES)
def test_regions_at_random(device: Any, dtype: str) -> None:
    refused: list[Refusal] = []

    @settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)
    @given(regions())
    def holds(drawn: tuple[list[Step], list[int], tuple[int, ...]]) -> None:
        steps, forms, shape = drawn

        def draw(seed: int) -> tuple[torch.Tensor, ...]:
            maker = Maker(getattr(torch, dtype), device, seed)
            return tuple(maker.normal(*shape)[(..., *FORMS[form])].clone() for form in forms)

        region = region_of(steps)
        module = generate(region, differentiable(draw(0)))
        if isinstance(module, Refusal):  # a gradient of what was broadcast and then reduced
            assert module.name == "reductions", module
            refused.append(module)
            return
        try:
            agreement.check(module, region, draw)
        except AssertionError as error:
            error.add_note(f"{steps} {forms} {shape}\n{module.source}")
            raise

    holds()
    assert len(refused) < EXAMPLES / 4
