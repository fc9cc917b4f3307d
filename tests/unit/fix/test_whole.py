"""A model as a whole: compiled, or as a CUDA graph, of which there is a stand-in here; held to the model either way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import perfkit  # noqa: E402
from perfkit.fix.patched import Patched  # noqa: E402
from tests.unit.fix import models  # noqa: E402
from tests.unit.fix.measures import faster, slower  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch itself, while it compiles


@pytest.fixture(autouse=True)
def _compiled_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Trace as ever, and run what was traced in eager operators: which code is generated is not for these tests."""
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **options: compile_(*args, **options, backend="aot_eager"))
    torch.manual_seed(0)
    yield
    torch.compiler.reset()


class Tiny(torch.nn.Module):  # type: ignore[name-defined]
    """Asks for float32 where it runs, and gives more than a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(8, 16), torch.nn.Linear(16, 8)

    def forward(self, x: Any, *, scale: float = 1.0) -> dict[str, Any]:
        y = torch.nn.functional.silu(self.first(x).float() * scale)
        return {"y": self.second(y.to(x.dtype)), "scale": scale, "none": None}


class Dropping(Tiny):
    def forward(self, x: Any, *, scale: float = 1.0) -> dict[str, Any]:
        return super().forward(torch.nn.functional.dropout(x, 0.5, self.training), scale=scale)


def optimized(model: Any, mode: Any, *candidates: str, measure: Any = faster) -> Any:
    inputs = {"x": torch.randn(4, 8), "scale": 2.0}
    return perfkit.optimize(model, inputs, mode=mode, candidates=candidates, measure=measure), inputs


def whole(outcome: Any) -> Any:
    return next(site for site in outcome.patch.sites if site.kind == "model")


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_a_compiled_model_serves_the_calls_it_was_measured_in(mode: Any) -> None:
    model = Tiny()
    outcome, inputs = optimized(model, mode, "compile")
    assert whole(outcome).chosen == "compile"
    model.train(mode == "train")
    with torch.set_grad_enabled(mode == "train"):
        after = model(**inputs)
        assert outcome._patched[0].used >= 1
        used = outcome._patched[0].used
        model(torch.randn(5, 8), scale=2.0)
        model(inputs["x"], scale=3.0)
        assert outcome._patched[0].used == used
        with outcome.reverted():
            before = model(**inputs)
    torch.testing.assert_close(after, before)
    assert not isinstance(vars(model).get("forward"), Patched) or outcome.applied
    assert "torch.compile of the model: applied" in outcome.report()


def test_parts_give_way_to_the_whole() -> None:
    model = torch.nn.Sequential(models.Norm(), models.Norm())
    x = torch.randn(2, models.LENGTH, models.WIDTH)
    outcome = perfkit.optimize(model, x, mode="infer", candidates=["native", "compile"], measure=faster)
    assert [(site.kind, site.chosen) for site in outcome.patch.sites] == [("rms_norm", ""), ("model", "compile")]
    assert "compiled as a whole" in outcome.patch.sites[0].reason
    assert [one.owner for one in outcome._patched] == [model]


def test_what_is_not_faster_is_left() -> None:
    model = Tiny()
    outcome, _ = optimized(model, "train", "compile", "graph", measure=slower)
    assert whole(outcome).chosen == ""
    assert "compile not surely 3 % faster" in whole(outcome).reason
    assert "graph runs on a GPU" in whole(outcome).reason
    assert not outcome.applied
    assert "forward" not in vars(model)


def test_a_model_that_draws_random_numbers_is_not_compared() -> None:
    outcome, _ = optimized(Dropping(), "train", "compile")
    assert "draws random numbers" in whole(outcome).reason
    outcome, _ = optimized(Dropping(), "infer", "compile")
    assert whole(outcome).chosen == "compile"


def test_a_compiler_that_is_wrong_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            outputs = function(*args, **kwargs)
            return {**outputs, "y": outputs["y"] * (1 + 1e-4)}

        return called

    monkeypatch.setattr(torch, "compile", wrong)
    for mode in ("train", "infer"):
        outcome, _ = optimized(Tiny(), mode, "compile")
        assert "is allowed" in whole(outcome).reason


class Recording:
    """Stands in for `torch.cuda.make_graphed_callables`: outputs and gradients lie in memory that the next call writes.

    Attributes:
        careful: Whether gradients are copied out of it, too.
    """

    def __init__(self, *, careful: bool) -> None:
        self.careful = careful
        self.replayed = 0

    def __call__(self, held: Any, sample: tuple[Any, ...], *, allow_unused_input: bool) -> Callable[..., Any]:
        assert allow_unused_input
        forward = held.forward
        parameters = tuple(held.parameters())
        outputs = [y.detach().clone() for y in forward(*sample)]
        slots = [torch.empty_like(parameter) for parameter in parameters]
        recording = self

        class Graphed(torch.autograd.Function):  # type: ignore[name-defined]
            @staticmethod
            def forward(ctx: Any, *given: Any) -> Any:
                recording.replayed += 1
                with torch.enable_grad():
                    ctx.made = forward(*given[: len(sample)])
                for mine, made in zip(outputs, ctx.made, strict=True):
                    mine.copy_(made.detach())
                return tuple(y.detach() for y in outputs)

            @staticmethod
            def backward(ctx: Any, *slopes: Any) -> Any:
                found = torch.autograd.grad(ctx.made, parameters, slopes)
                for slot, gradient in zip(slots, found, strict=True):
                    slot.copy_(gradient)
                given = [slot.clone() if recording.careful else slot.detach() for slot in slots]
                return (*[None] * len(sample), *given)

        return lambda *given: Graphed.apply(*given, *parameters)


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_a_graph_is_replayed_while_the_model_is_as_it_was(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(careful=True)
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", recording)
    monkeypatch.setattr("perfkit.fix.graphs.obstacle", lambda *_: "")
    model = Tiny()
    outcome, inputs = optimized(model, mode, "graph")
    assert whole(outcome).chosen == "graph", whole(outcome).reason
    model.train(mode == "train")
    with torch.set_grad_enabled(mode == "train"):
        replayed = recording.replayed
        after = model(**inputs)
        assert recording.replayed == replayed + 1
        other = model(inputs["x"] * 2, scale=2.0)
        assert not torch.equal(after["y"], other["y"])
        with outcome.reverted():
            torch.testing.assert_close(after, model(**inputs))
        replayed = recording.replayed
        model(inputs["x"], scale=3.0)
        handle = model.first.register_forward_hook(lambda *_: None)
        model(**inputs)
        handle.remove()
        model.first.weight = torch.nn.Parameter(model.first.weight.detach().clone())
        model(**inputs)
        assert recording.replayed == replayed


def test_a_graph_that_writes_over_gradients_is_not_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "make_graphed_callables", Recording(careful=False))
    monkeypatch.setattr("perfkit.fix.graphs.obstacle", lambda *_: "")
    model = Tiny()
    model.first.weight.grad = before = torch.ones_like(model.first.weight)
    outcome, _ = optimized(model, "train", "graph")
    assert "writes over" in whole(outcome).reason
    assert model.first.weight.grad is before
    assert model.second.weight.grad is None


def test_hooks_and_other_reasons_against_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    from perfkit.fix.graphs import obstacle

    model, gpu = Tiny(), torch.device("cuda")
    assert obstacle(model, gpu) == ""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda kind: kind == "cuda")
    assert "autocast" in obstacle(model, gpu)
    monkeypatch.undo()
    model.first.register_forward_hook(lambda *_: None)
    assert "hooks" in obstacle(model, gpu)
    assert obstacle(model, torch.device("cpu")) == "runs on a GPU"
