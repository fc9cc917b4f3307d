"""Chains of operators that have no name are sites, too: maximal ones, and none that would compute anything else."""

from __future__ import annotations

import copy
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import perfkit  # noqa: E402
from perfkit.fix.candidates import present  # noqa: E402
from perfkit.fix.optimized import build, put_in, take_out  # noqa: E402
from perfkit.fix.sites import chains_of, sites_of  # noqa: E402
from tests.unit.fix import models  # noqa: E402
from tests.unit.fix.measures import faster, slower  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo looks at it

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

nn, F = torch.nn, torch.nn.functional
WIDTH = 32


@pytest.fixture(autouse=True)
def _compiled_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **options: compile_(*args, **options, backend="aot_eager"))
    monkeypatch.setattr("perfkit.fix.choose.WHOLE", frozenset())
    yield
    torch.compiler.reset()


class Modulated(nn.Module):  # type: ignore[name-defined]
    """A block of a diffusion transformer: adaptive norm, and a gate on the residual."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.condition, self.layer = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Any, c: Any) -> Any:
        shift, scale, gate = self.condition(c).chunk(3, -1)
        y = self.layer(self.norm(x) * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1))
        return x + torch.tanh(gate).unsqueeze(1) * y


class Clamped(nn.Module):  # type: ignore[name-defined]
    """The gated unit of a mixture of experts whose values are clamped."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        gate, up = self.up(x).chunk(2, -1)
        gate, up = gate.clamp(max=7.0), up.clamp(-7.0, 7.0)
        return self.down((up + 1) * gate * torch.sigmoid(gate * 1.702))


class Snake(nn.Module):  # type: ignore[name-defined]
    """An activation of vocoders, a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Any) -> Any:
        return x + torch.sin(self.alpha * x).square() / (self.alpha + 1e-9)


class Capped(nn.Module):  # type: ignore[name-defined]
    """Features of unit length, activated, and logits that are capped."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.act, self.head = nn.Linear(WIDTH, WIDTH), Snake(), nn.Linear(WIDTH, 2 * WIDTH)
        self.scale = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: Any) -> Any:
        y = self.into(x)
        y = y / y.norm(dim=-1, keepdim=True).clamp_min(1e-6) * self.scale
        logits = self.head(self.act(y + 0.5))
        return 30.0 * torch.tanh(logits / 30.0)


def given() -> Any:
    return torch.randn(2, models.LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))


def optimized(model: Any, inputs: Any, measure: Any = faster, candidates: Any = ("compile",)) -> Any:
    return perfkit.optimize(model, inputs, mode="train", candidates=candidates, measure=measure)


def chains(outcome: Any) -> dict[str, int]:
    return dict(Counter(site.title for site in outcome.patch.sites if site.kind == "chain"))


def results(model: Any, inputs: Any) -> list[Any]:
    """Return output and gradients."""
    torch.manual_seed(0)
    y = model(*inputs)
    return [y, *torch.autograd.grad(y.square().mean(), [*model.parameters()])]


REAL: dict[str, tuple[Callable[[], Any], Any, dict[str, int]]] = {
    "adaptive norm and gated residual": (
        Modulated, lambda: (given(), torch.randn(2, WIDTH)), {"chain of 3 operators": 2},
    ),
    "clamped gated unit": (Clamped, lambda: (given(),), {"chain of 7 operators": 1}),
    "unit length, snake and capped logits": (
        # That of eleven takes the module of the activation in, which has one of its own.
        Capped, lambda: (given(),), {"chain of 11 operators": 1, "chain of 3 operators": 1, "chain of 6 operators": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_chains_are_found_put_in_and_taken_out(name: str) -> None:
    make, inputs, expected = REAL[name]
    model, x = make(), inputs()
    names, before = list(model.state_dict()), results(model, x)
    outcome = optimized(model, x)
    assert chains(outcome) == expected, outcome.report()
    for one, other in zip(results(model, x), before, strict=True):
        torch.testing.assert_close(one, other)
    assert all(one.used for one in outcome._patched)
    assert list(model.state_dict()) == names
    assert all(map(torch.equal, results(copy.deepcopy(model), x), before))
    with outcome.reverted():
        assert all(map(torch.equal, results(model, x), before))
    outcome.revert()
    assert not any("forward" in vars(module) for module in model.modules())


def test_a_site_in_a_module_that_is_taken_in_is_not_tried() -> None:
    outcome = optimized(Capped(), (given(),))
    (inner,) = [site for site in outcome.patch.sites if site.modules == ("act",)]
    assert not inner.chosen
    assert inner.reason == "is computed by what is put in around it"
    assert not inner.candidates
    alone = optimized(Snake(), (given(),))
    assert [site.chosen for site in alone.patch.sites] == ["compile"]


class Doing(nn.Module):  # type: ignore[name-defined]
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.weight, self.function = nn.Parameter(torch.randn(WIDTH, WIDTH) / WIDTH), (function,)

    def forward(self, x: Any) -> Any:
        return self.function[0](x, self.weight)


def masked(x: Any, w: Any) -> Any:
    y = torch.tanh(x @ w)
    return (y * 2)[y > 0].exp() * 3


NEAR: dict[str, tuple[Callable[[Any, Any], Any], dict[str, int], str]] = {
    "one operator": (lambda x, w: torch.tanh(x @ w), {}, ""),
    "only views": (lambda x, w: (x @ w).transpose(0, 1).unsqueeze(0), {}, ""),
    "apart": (lambda x, w: torch.tanh(torch.tanh(x) @ w), {}, ""),
    "dropout": (lambda x, w: F.dropout(torch.tanh(x @ w), 0.5, training=True) + 1, {}, "dropout is in no chain"),
    "noise": (
        lambda x, w: torch.rand_like(x) * 2 * (x @ w), {"chain of 2 operators": 1}, "rand_like is in no chain: it",
    ),
    "a shape of values": (masked, {"chain of 3 operators": 1}, "getitem is in no chain: it gives a tensor whose shape"),
    "writes into its input": (lambda x, w: x.mul_(1.0).tanh() @ w, {}, "writes in place into what it is given"),
    "other dimensions": (
        lambda x, w: (x @ w).mean(0).tanh().mean(-1) * 2, {"chain of 3 operators": 1}, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEAR)
def test_what_is_no_chain_is_left_and_said(name: str) -> None:
    function, expected, said = NEAR[name]
    model, x = Doing(function), (given(),)
    before = results(model, x)
    outcome = optimized(model, x)
    assert chains(outcome) == expected, outcome.report()
    assert said in " ".join(f"{passed.reason} {passed.modules}" for passed in outcome.patch.passed)
    for one, other in zip(results(model, x), before, strict=True):
        torch.testing.assert_close(one, other)


def test_views_that_leave_are_made_of_what_a_chain_gives() -> None:
    def function(x: Any, w: Any) -> Any:
        y = torch.tanh(x @ w) * 2
        seen = y.transpose(0, 1)
        z = seen[:1]
        return (z @ w + y[0].mean()) * y.view(-1)[0]

    model, x = Doing(function), (given(),)
    sought = sites_of(model, x, {})
    for place in chains_of(sought.frames, ()).places:
        assert not {"transpose", "view", "getitem"} & {str(node.target) for node in place.match.outputs}
    before = results(model, x)
    optimized(model, x)
    for one, other in zip(results(model, x), before, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_put_in_for_an_operation_is_in_no_chain() -> None:
    class Block(nn.Module):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(WIDTH))

        def forward(self, x: Any) -> Any:
            x = x * 2 - 1
            y = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight
            return torch.sin(y) + y

    def by_name(*, taken: bool) -> Any:
        def measure(base: Any, candidate: Any, *, device: str) -> Any:
            native = "native" in getattr(candidate, "__qualname__", "")
            return (faster if taken or not native else slower)(base, candidate, device=device)

        return measure

    x = (given(),)
    applied = optimized(Block(), x, by_name(taken=True), ("native", "compile"))
    assert {site.title: site.chosen for site in applied.patch.sites} == {
        "RMSNorm, eps 1e-06, times weight": "native",
        "chain of 2 operators": "compile",
    }
    left = optimized(Block(), x, slower, ("native", "compile"))
    assert chains(left) == {"chain of 10 operators": 1}


class Random(nn.Module):  # type: ignore[name-defined]
    """Operators at random, of what was computed before."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed, self.weight = seed, nn.Parameter(torch.randn(8, 8) / 8)

    def forward(self, x: Any) -> Any:
        choice = random.Random(self.seed)
        known = [x, x + 1]
        for _ in range(24):
            a, b = choice.choice(known[-6:]), choice.choice(known[-6:])
            known.append(
                [  # type: ignore[no-untyped-call]
                    lambda a, b: a + b, lambda a, b: a * b, lambda a, _: torch.tanh(a), lambda a, _: a @ self.weight,
                    lambda a, b: a - b.mean(-1, keepdim=True), lambda a, _: a.mT, lambda a, b: torch.where(a > 0, b, a),
                    lambda a, _: a.unsqueeze(0).squeeze(0), lambda a, _: a[:, ::1], lambda a, b: a.add(b).mul_(0.5),
                ][choice.randrange(10)](a, b)
            )  # fmt: skip
        return tuple(known[-5:])


@pytest.mark.parametrize("seed", range(40))
def test_whatever_the_order_of_operators_is_results_stay_the_same(seed: int) -> None:
    model, x = Random(seed), torch.randn(8, 8)
    sought = sites_of(model, (x,), {})
    places = chains_of(sought.frames, ()).places
    patched = build([(place, present(place.match, model)) for place in places])
    before = model(x)
    put_in(patched)
    after = model(x)
    take_out(patched)
    assert all(one.used == 1 for one in patched)
    assert all(map(torch.equal, before, after))
    assert [y.stride() for y in before] == [y.stride() for y in after]
    assert [y._is_view() for y in before] == [y._is_view() for y in after]
    assert len(places) or not sought.frames
