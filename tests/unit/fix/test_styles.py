"""Models of today, written by hand in three styles: every site in them is found, and what is put there holds.

How many there are is counted from the models by hand. In a style of modules a norm is a site in its own module, and
again where it follows a residual; where all is one forward, each norm is one or the other.
"""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from tests.unit.fix.holding import alone, holds, kinds, loss_of, optimized, titles  # noqa: E402
from tests.unit.fix.styles import arithmetic, functions, modules, written  # noqa: E402
from tests.unit.fix.styles.shape import (  # noqa: E402
    CHANNELS,
    GEMMA,
    LAYERS,
    LLAMA,
    MISTRAL,
    QWEN,
    SIDE,
    WIDTH,
    padded,
    words,
)  # fmt: skip

NAMES, HANDS = ("modules", "functions", "arithmetic"), {"functions": functions, "arithmetic": arithmetic}

# In each layer: two norms, one of them after a residual, attention, queries and keys turned, a gate. Before the loss,
# which is a module of its own in the first style, a norm and a linear layer.
IN_EVERY_DECODER = {
    "attention": LAYERS, "rope": 2 * LAYERS, "gated_activation": LAYERS, "linear_cross_entropy": 1,
}  # fmt: skip
DECODER = {
    "modules": IN_EVERY_DECODER | {"rms_norm": 2 * LAYERS + 1, "add_rms_norm": LAYERS, "cross_entropy": 1},
    "written": IN_EVERY_DECODER | {"rms_norm": 1, "add_rms_norm": 2 * LAYERS},
}
IN_EVERY_ENCODER = {"attention": LAYERS, "bias_gelu": LAYERS}
BERT = {
    "modules": IN_EVERY_ENCODER
    | {"layer_norm": 2 * LAYERS + 1, "dropout_add_layer_norm": 2 * LAYERS, "cross_entropy": 1},
    "written": IN_EVERY_ENCODER | {"dropout_add_layer_norm": 2 * LAYERS, "linear_cross_entropy": 1},
}
VIT = {
    "modules": IN_EVERY_ENCODER | {"layer_norm": 2 * LAYERS + 1, "add_layer_norm": LAYERS, "cross_entropy": 1},
    "written": IN_EVERY_ENCODER | {"layer_norm": 1, "add_layer_norm": 2 * LAYERS - 1, "linear_cross_entropy": 1},
}
# Encoder layers have two norms, decoder layers three and two attentions; each stack ends in a norm.
IN_EVERY_T5 = {"attention": 3 * LAYERS, "gated_activation": 2 * LAYERS, "linear_cross_entropy": 1}
T5 = {
    "modules": IN_EVERY_T5 | {"rms_norm": 5 * LAYERS + 2, "add_rms_norm": 3 * LAYERS, "cross_entropy": 1},
    "written": IN_EVERY_T5 | {"rms_norm": 2, "add_rms_norm": 5 * LAYERS},
}
UNET = {style: {"group_norm_silu": 2, "attention": 1} for style in ("modules", "written")}


def decoder(family: Any) -> tuple[Any, Any, Any]:
    return lambda: modules.DecoderModel(family), lambda style: written.DecoderModel(style, family), with_norms(family)


def with_norms(family: Any) -> dict[str, dict[str, int]]:
    """Return the sites of a family: queries and keys are normalised in some."""
    more = 2 * LAYERS if family.normed else 0
    return {style: counted | {"rms_norm": counted["rms_norm"] + more} for style, counted in DECODER.items()}


MODELS: dict[str, tuple[Any, Any, dict[str, dict[str, int]]]] = {
    "llama": decoder(LLAMA),
    "gemma": decoder(GEMMA),
    "qwen": decoder(QWEN),
    "mistral": decoder(MISTRAL),
    "bert": (modules.Bert, written.Bert, BERT),
    "vit": (modules.ViT, written.ViT, VIT),
    "t5": (modules.T5, written.T5, T5),
    "unet": (modules.UNetBlock, written.UNetBlock, UNET),
}
EVERY = [pytest.param(name, style, id=f"{name}-{style}") for name in MODELS for style in NAMES]


def make(name: str, style: str, **options: Any) -> Any:
    ready, by_hand, _ = MODELS[name]
    return ready(**options) if style == "modules" else by_hand(HANDS[style], **options)


def given(name: str) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    if name == "vit":
        return {"images": torch.randn(2, 3, 8, 8, generator=random), "targets": torch.tensor([1, 2])}
    if name == "unet":
        return {
            "x": torch.randn(2, CHANNELS, SIDE, SIDE, generator=random), "time": torch.randn(2, WIDTH, generator=random)
        }  # fmt: skip
    inputs = dict(zip(("ids", "targets"), words(), strict=True))
    return inputs | {"mask": padded()} if name == "bert" else inputs


@pytest.mark.parametrize(("name", "style"), EVERY)
def test_every_site_is_found(name: str, style: str) -> None:
    model = make(name, style)
    assert kinds(model, given(name)) == MODELS[name][2]["modules" if style == "modules" else "written"]


@pytest.mark.parametrize("style", NAMES)
def test_masks_are_told_apart(style: str) -> None:
    found = titles(make("llama", style), given("llama"))
    assert "attention, scale 0.3536, 4 heads on 2, causal" in found
    found = titles(make("mistral", style), given("mistral"))
    assert not any("causal" in title for title in found)
    assert any(title.startswith("attention, scale 0.3536, 4 heads on 2, ") for title in found)


@pytest.mark.parametrize("style", NAMES)
def test_without_dropping_it_is_another_operation(style: str) -> None:
    model = make("bert", style).eval()
    found = kinds(model, given("bert"))
    assert found["add_layer_norm"] == 2 * LAYERS
    assert "dropout_add_layer_norm" not in found


@pytest.mark.parametrize(
    ("name", "style"), [("llama", "modules"), ("qwen", "arithmetic"), ("mistral", "functions"), ("t5", "modules")]
)
def test_decoders_hold(name: str, style: str) -> None:
    holds(make(name, style), given(name))


@pytest.mark.parametrize(
    ("name", "style", "options"),
    [("bert", "functions", {"p": 0.0}), ("vit", "arithmetic", {}), ("unet", "modules", {}), ("unet", "arithmetic", {})],
)
def test_encoders_hold(name: str, style: str, options: Any) -> None:
    holds(make(name, style, **options), given(name))


def test_a_mask_that_changes_is_seen() -> None:
    model, inputs = make("llama", "modules"), given("llama")
    outcome = optimized(model, inputs)
    attentions = [one for one in outcome._patched if isinstance(one.owner, modules.CausalAttention)]
    model(**inputs)
    used = sum(one.used for one in attentions)
    for one in attentions:
        one.owner.seen[:, :2] = True
    changed = model(**inputs)
    assert sum(one.used for one in attentions) == used > 0
    outcome.revert()
    torch.testing.assert_close(model(**inputs), changed)


def test_a_model_for_several_processes_is_optimized(tmp_path: Any) -> None:
    inputs = given("llama")
    plain = make("llama", "modules")
    model = make("llama", "modules")
    model.load_state_dict(plain.state_dict())
    loss_of(plain, inputs).backward()
    with alone(tmp_path):
        outcome = optimized(model, inputs)
        parallel = torch.nn.parallel.DistributedDataParallel(model)
        loss_of(parallel, inputs).backward()
        assert sum(one.used for one in outcome._patched) >= LAYERS
        again = optimized(parallel, inputs)
        assert again.patch.sites
        again.revert()
        outcome.revert()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
