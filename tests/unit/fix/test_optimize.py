"""Sites are found however they are written, replaced where that is right and faster, and given back as they were."""

from __future__ import annotations

import copy
import functools
import io
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import perfkit  # noqa: E402
from perfkit.errors import UsageError  # noqa: E402
from perfkit.fix.patched import Patched  # noqa: E402
from perfkit.verify.numerics import agree  # noqa: E402
from tests.unit.fix import models  # noqa: E402
from tests.unit.fix.measures import faster, slower  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from perfkit.model.measurement import Measurement

QUICK = ("native", "kernel")
LLAMA = {"rms_norm": 4, "gated_activation": 2, "attention": 2, "add_rms_norm": 2}
BERT = {"layer_norm": 2, "add_layer_norm": 2, "attention": 1, "bias_gelu": 1}
STYLES = [
    *(pytest.param(functools.partial(models.llama, style), LLAMA, id=f"llama-{style}") for style in range(3)),
    pytest.param(models.gemma, {"rms_norm": 2, "gated_activation": 1, "attention": 1, "add_rms_norm": 1}, id="gemma"),
    pytest.param(lambda: models.bert(models.GeLU()), BERT | {"gelu_tanh": 1}, id="bert-1"),
    pytest.param(lambda: models.bert(models.GeLUOfErf()), BERT | {"gelu": 1}, id="bert-2"),
    pytest.param(lambda: models.bert(models.GeLUFactored()), BERT | {"gelu_tanh": 1}, id="bert-3"),
    pytest.param(
        models.vit, {"layer_norm": 2, "add_layer_norm": 1, "attention": 1, "bias_gelu": 1, "gelu": 1}, id="vit"
    ),
]  # fmt: skip


def optimized(model: Any, inputs: Any, mode: Any = "train", **options: Any) -> Any:
    return perfkit.optimize(model, inputs, mode=mode, **{"candidates": QUICK, "measure": faster, **options})


def given(dtype: Any = None) -> Any:
    return torch.randn(2, models.LENGTH, models.WIDTH, generator=torch.Generator().manual_seed(0)).to(
        dtype or torch.float32
    )


def found(outcome: Any) -> dict[str, int]:
    counted: dict[str, int] = {}
    for site in outcome.patch.sites:
        counted[site.kind] = counted.get(site.kind, 0) + site.calls
    return counted


@pytest.mark.parametrize(("make", "expected"), STYLES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_sites_are_found_in_every_style(make: Any, expected: dict[str, int], dtype: Any) -> None:
    model, x = make().to(dtype), given(dtype)
    if dtype == torch.bfloat16 and "attention" in expected:
        model.float()  # masks that are made inside are float32 here
        x = x.float()
    assert found(optimized(model, x)) == expected


@pytest.mark.parametrize("near", models.NEAR_MISSES)
def test_what_is_nearly_the_same_is_not_matched(near: Any) -> None:
    kinds = found(optimized(near(), given()))
    # What is within a region may be one: the normalisation without its weight, say. The whole is not.
    assert not kinds, kinds


@pytest.mark.parametrize("opaque", models.OPAQUE)
def test_what_a_graph_cannot_stand_for_is_left_and_said(opaque: Any) -> None:
    outcome = optimized(torch.nn.Sequential(opaque()), given(), "infer")
    assert not outcome.patch.sites
    assert any(models.OPAQUE[opaque] in passed.reason and passed.modules == ("0",) for passed in outcome.patch.passed)
    assert models.OPAQUE[opaque] in outcome.report()


@pytest.mark.parametrize(
    "make", [lambda: models.llama(0), models.gemma, lambda: models.bert(models.GeLU()), models.vit]
)
@pytest.mark.parametrize("mode", ["train", "infer"])
def test_applied_is_used_and_reverted_is_bit_equal(make: Any, mode: Any) -> None:
    model, x = make(), given()
    names, before = list(model.state_dict()), model(x)
    outcome = optimized(model, x, mode)
    assert any(site.chosen for site in outcome.patch.sites)
    with torch.set_grad_enabled(mode == "train"):
        model.train(mode == "train")
        torch.testing.assert_close(model(x), before)
    assert sum(one.used for one in outcome._patched) >= 1
    assert list(model.state_dict()) == names
    with outcome.reverted() as plain:
        assert torch.equal(plain(x), before)
        assert not outcome.applied
    assert outcome.applied
    outcome.revert()
    assert torch.equal(model(x), before)
    assert not any("forward" in vars(module) for module in model.modules())


def test_folded_batch_norm_steps_aside_when_its_weights_change() -> None:
    model, x = models.convolutional().eval(), torch.randn(2, 3, 8, 8)
    outcome = optimized(model, x, "infer")
    assert found(outcome) == {"conv_batch_norm": 2}
    assert {site.chosen for site in outcome.patch.sites} == {"native"}
    (patched,) = outcome._patched
    with torch.no_grad():
        model(x)
        assert patched.used == 1
        model[1].running_mean.add_(1.0)
        changed = model(x)
        assert patched.used == 1
        outcome.revert()
        assert torch.equal(model(x), changed)


def test_training_mode_does_not_fold() -> None:
    model = models.convolutional()
    counts = [int(model[1].num_batches_tracked), model[1].running_mean.clone()]
    assert found(optimized(model, torch.randn(2, 3, 8, 8))) == {}
    assert int(model[1].num_batches_tracked) == counts[0]
    assert torch.equal(model[1].running_mean, counts[1])
    assert model.training


def test_calls_that_were_not_measured_run_as_before() -> None:
    model, x = models.llama(1), given()
    outcome = optimized(model, x)
    with outcome.reverted():
        longer, halves = model(given()[:, :5]), copy.deepcopy(model).double()(x.double())
    used = [one.used for one in outcome._patched]
    assert torch.equal(model(given()[:, :5]), longer)
    with torch.no_grad():
        model(x)
    model.eval()
    model(x)
    model.train()
    for module in model.modules():
        if isinstance(module, models.Norm):
            module.eps = 1e-5
    norms = [one for one in outcome._patched if isinstance(one.owner, models.Norm)]
    assert norms
    model(x)
    expected = [count for one, count in zip(outcome._patched, used, strict=True) if one in norms]
    assert [one.used for one in norms] == expected
    for module in model.modules():
        if isinstance(module, models.Norm):
            module.eps = 1e-6
    assert torch.equal(copy.deepcopy(model).double()(x.double()), halves)


def test_hooks_copies_and_files_work() -> None:
    model, x = models.llama(0), given()
    outcome = optimized(model, x)
    called: list[str] = []
    for name, module in model.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.append(name))
    after = model(x)
    assert set(called) == {name for name, _ in model.named_modules()}
    with outcome.reverted():
        plain = model(x)
    twin = copy.deepcopy(model)
    assert not any(isinstance(vars(module).get("forward"), Patched) for module in twin.modules())
    assert torch.equal(twin(x), plain)
    torch.testing.assert_close(after, plain)


def test_a_saved_model_loads_as_it_was() -> None:
    model, x = models.llama(0), given()
    outcome = optimized(model, x)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    with outcome.reverted():
        assert torch.equal(loaded(x), model(x))
    model.load_state_dict(copy.deepcopy(loaded.state_dict()))


def test_training_stays_within_the_policy() -> None:
    start, x = models.llama(0), given()
    target = torch.randn(x.shape)

    def trained(model: Any, x: Any) -> list[Any]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        for _ in range(30):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), target.to(x.dtype)).backward()
            optimizer.step()
        return [parameter.detach() for parameter in model.parameters()]

    changed = copy.deepcopy(start)
    outcome = optimized(changed, x)
    mine, theirs = trained(changed, x), trained(copy.deepcopy(start), x)
    exact = trained(copy.deepcopy(start).double(), x.double())
    assert max(one.used for one in outcome._patched) >= 30
    for one, other, truth in zip(mine, theirs, exact, strict=True):
        agreement = agree(one, other, truth, magnitude=30 * float(truth.abs().max()))
        assert agreement.right, agreement.reason


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # Dynamo looks at it
def test_more_sites_are_compiled_than_one_code_may_be_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **options: compile_(*args, **options, backend="aot_eager"))
    monkeypatch.setattr("perfkit.fix.choose.WHOLE", frozenset())
    widths = (8, 16, 24, 32)
    norms = [torch.nn.Sequential(models.Norm(), models.Norm()) for _ in widths]
    for norm, width in zip(norms, widths, strict=True):
        for one in norm:
            one.weight = torch.nn.Parameter(torch.ones(width))
        x = torch.randn(3, width)
        # Not monkeypatch: what that puts back in this module stays hidden from whoever compiles next.
        with torch._dynamo.config.patch(recompile_limit=4):
            outcome = perfkit.optimize(norm, x, mode="train", candidates=["compile"], measure=faster)
            assert [site.chosen for site in outcome.patch.sites] == ["compile"] * 2, outcome.report()
            with outcome.reverted():
                before = norm(x)
            torch.testing.assert_close(norm(x), before)
    torch.compiler.reset()


def test_nothing_is_applied_that_is_not_faster() -> None:
    model, x = models.llama(0), given()
    before = model(x)
    outcome = optimized(model, x, measure=slower)
    assert not outcome.applied
    assert torch.equal(model(x), before)
    assert {site.chosen for site in outcome.patch.sites} == {""}
    timed = [candidate for site in outcome.patch.sites for candidate in site.candidates if candidate.alone]
    assert timed
    assert all("not surely 3 % faster: 0.90x" in candidate.reason for candidate in timed)


def test_what_is_faster_alone_has_to_show_in_the_model() -> None:
    model = models.gemma()

    def alone_only(base: Any, candidate: Any, *, device: str) -> Measurement:
        measured = faster(base, candidate, device=device)
        return measured._replace(low=0.99) if "with_side" in base.__qualname__ else measured

    outcome = optimized(model, given(), measure=alone_only)
    assert not outcome.applied
    timed = [candidate for site in outcome.patch.sites for candidate in site.candidates if candidate.alone]
    assert timed
    assert all("does not show in the model" in candidate.reason for candidate in timed)


def test_a_candidate_that_gives_other_bits_each_time_is_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    right, unit = torch.nn.functional.rms_norm, torch.finfo(torch.float32).eps
    calls = itertools.count()
    monkeypatch.setattr(torch.nn.functional, "rms_norm", lambda *given: right(*given) * (1 + next(calls) % 2 * unit))
    (site,) = optimized(models.Norm(), given()).patch.sites
    assert not site.chosen
    assert "native gives other bits in a second run" in site.reason


def test_a_wrong_candidate_is_not_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.nn.functional.rms_norm
    monkeypatch.setattr(torch.nn.functional, "rms_norm", lambda *given: right(*given) * (1 + 1e-4))
    outcome = optimized(models.Norm(), given())
    (site,) = outcome.patch.sites
    assert not site.chosen
    assert "is allowed" in site.reason


def test_verdicts_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PERFKIT_VERDICTS", str(tmp_path))
    monkeypatch.setattr("perfkit.pipeline.optimize.in_turns", faster)
    first = optimized(models.Norm(), given(), measure=None)
    second = optimized(models.Norm(), given(), measure=None)
    assert [site.remembered for site in (*first.patch.sites, *second.patch.sites)] == [False, True]
    assert [site.chosen for site in second.patch.sites] == ["native"]
    (file,) = tmp_path.iterdir()
    file.write_text("{", "utf-8")
    assert not optimized(models.Norm(), given(), measure=None).patch.sites[0].remembered
    other = optimized(models.Norm(), given()[:1], measure=None)
    assert not other.patch.sites[0].remembered


def test_reports_say_what_was_done_and_why() -> None:
    outcome = optimized(models.llama(0), given())
    text, markdown, document = outcome.report(), outcome.report("markdown"), json.loads(outcome.report("json"))
    for drawn in (text, markdown):
        assert "2.00 times as fast" in drawn
        assert "RMSNorm, eps 1e-06" in drawn
    assert "runs on a GPU" in " ".join(text.split())
    assert document["schema"] == "perfkit.optimization/1"
    assert {site["chosen"] for site in document["sites"]} <= {"native", ""}
    assert document["model"]["speedup"] == 2.0


def test_calls_in_a_loop_are_counted_and_order_the_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.fix.choose.operator_ns", lambda *_, **__: 100.0)
    monkeypatch.setattr("perfkit.fix.choose.bandwidth", lambda _: 1e30)
    outcome = optimized(models.Looping(6), given(), "infer")
    counts = [(site.calls, site.modules, site.chosen) for site in outcome.patch.sites]
    assert counts == [(6, ("block.1",), "native"), (2, ("first", "second"), "native")]
    assert "6 times a call, in block.1" in outcome.report()


def test_calls_in_a_loop_count_where_a_site_may_be_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.fix.choose.LEAST_SHARE", 1.0)
    monkeypatch.setattr("perfkit.fix.choose.operator_ns", lambda *_, **__: 100.0)
    monkeypatch.setattr("perfkit.fix.choose.bandwidth", lambda _: 1e30)
    alone = optimized(models.Looping(1), given(), "infer").patch.sites[0].predicted_ns
    monkeypatch.setattr("perfkit.fix.choose.step_ns", lambda _: 5 * alone)
    chosen = {site.modules: site.chosen for site in optimized(models.Looping(6), given(), "infer").patch.sites}
    assert chosen == {("block.1",): "native", ("first", "second"): ""}


@pytest.mark.parametrize("mode", ["train", "infer"])
def test_no_more_is_predicted_than_what_is_there_takes(mode: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perfkit.fix.choose.operator_ns", lambda *_, **__: 1e6)
    for measure in (faster, slower):
        outcome = optimized(models.Norm(), given(), mode, measure=measure)
        (site,) = outcome.patch.sites
        assert site.predicted_ns == 2_000, "the time of what is there, as it was measured"
    monkeypatch.setattr("perfkit.fix.choose.operator_ns", lambda *_, **__: 10.0)
    monkeypatch.setattr("perfkit.fix.choose.bandwidth", lambda _: 1e30)
    (site,) = optimized(models.Norm(), given(), mode).patch.sites
    assert 0 < site.predicted_ns < 100, "what is less is left as it is"


def test_what_is_wrong_only_of_hostile_inputs_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.nn.functional.rms_norm
    monkeypatch.setattr(
        torch.nn.functional, "rms_norm", lambda x, *rest: right(x, *rest) * (1 + 1e-3 * (x.abs().max() > 1e3))
    )
    (site,) = optimized(models.Norm(), given(), "infer", candidates=("native",)).patch.sites
    assert "is allowed, with a row of the inputs set to 10000" in site.reason


def test_wrong_models_and_inputs_are_refused() -> None:
    no_model: Any
    no_inputs: Any
    for no_model, named in ((lambda x: x, "function"), (models.Norm, "type"), (None, "NoneType")):
        with pytest.raises(UsageError, match=f"the model is of type {named}: pass an instance of torch.nn.Module"):
            perfkit.optimize(no_model, given(), mode="infer")
    for no_inputs, named in ((None, "NoneType"), (3, "int"), ("x", "str")):
        with pytest.raises(UsageError, match=f"example_inputs is of type {named}: pass a tensor"):
            perfkit.optimize(models.Norm(), no_inputs, mode="infer")
    outcome = optimized(models.Norm(), [given()], "infer")
    assert outcome.applied
    with pytest.raises(UsageError, match="example_inputs is of type NoneType"):
        outcome.tune(None)
    assert outcome.applied


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="mode is 'fast'"):
        perfkit.optimize(models.Norm(), given(), mode="fast")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="magic"):
        perfkit.optimize(models.Norm(), given(), mode="infer", candidates=["magic"])
