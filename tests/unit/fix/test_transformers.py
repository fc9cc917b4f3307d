"""Models of the library `transformers`, built from tiny configurations with random weights: every site, and no other.

They run in its `eager` attention, which is written out in Python, so that there is an attention to be found; in others
PyTorch's own is called already.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")

from tests.unit.fix.holding import holds, kinds, optimized, titles  # noqa: E402

pytestmark = pytest.mark.filterwarnings("default")  # its own

LAYERS, WORDS = 2, 64
SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": LAYERS, "num_attention_heads": 4,
    "attn_implementation": "eager",
}  # fmt: skip
OF_WORDS = SIZES | {"vocab_size": WORDS, "max_position_embeddings": 32}
SHARED = OF_WORDS | {"num_key_value_heads": 2, "use_cache": False}
T5 = {
    "vocab_size": WORDS, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": LAYERS, "num_heads": 4,
    "decoder_start_token_id": 0, "use_cache": False, "feed_forward_proj": "gated-gelu", "dropout_rate": 0.0,
    "attn_implementation": "eager",
}  # fmt: skip
WITHOUT_DROPOUT = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}

# Two norms a layer and one at the end, one of them after a residual inside of its layer; queries and keys turned apart.
DECODER = {
    "rms_norm": 2 * LAYERS + 1, "add_rms_norm": LAYERS, "attention": LAYERS, "rope": 2 * LAYERS,
    "gated_activation": LAYERS, "cross_entropy": 1,
}  # fmt: skip
# Norms of the embeddings, after attention and after the MLP, and one in the head, which has a GELU as well.
BERT = {"layer_norm": 2 * LAYERS + 2, "attention": LAYERS, "bias_gelu": LAYERS + 1, "cross_entropy": 1}
FOUND: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "Llama": ("LlamaForCausalLM", SHARED, DECODER),
    "Gemma": ("GemmaForCausalLM", SHARED | {"head_dim": 8}, DECODER),
    "Qwen3": ("Qwen3ForCausalLM", SHARED | {"head_dim": 8}, DECODER | {"rms_norm": 4 * LAYERS + 1}),
    "Mistral": ("MistralForCausalLM", SHARED, DECODER),
    "Bert": ("BertForMaskedLM", OF_WORDS, BERT | {"dropout_add_layer_norm": 2 * LAYERS}),
    "ViT": (
        "ViTForImageClassification", SIZES | {"image_size": 16, "patch_size": 4},
        {
            "layer_norm": 2 * LAYERS + 1, "add_layer_norm": LAYERS, "attention": LAYERS, "bias_gelu": LAYERS,
            "cross_entropy": 1,
        },
    ),
    # Two norms and one attention a layer in the encoder, three and two in the decoder. Its GELU is written out; that
    # of a gate is a site of its own module, too.
    "T5": (
        "T5ForConditionalGeneration", T5,
        {
            "rms_norm": 5 * LAYERS + 2, "add_rms_norm": LAYERS, "attention": 3 * LAYERS,
            "gated_activation": 2 * LAYERS, "gelu_tanh": 2 * LAYERS, "cross_entropy": 1,
        },
    ),
}  # fmt: skip


def make(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    kind, sizes, _ = FOUND[name]
    configuration = getattr(transformers, f"{name}Config")(**{**sizes, **options})
    return getattr(transformers, kind)(configuration).train()


def given(name: str) -> dict[str, Any]:
    random = torch.Generator().manual_seed(0)
    if name == "ViT":
        return {"pixel_values": torch.randn(2, 3, 16, 16, generator=random), "labels": torch.tensor([0, 1])}
    ids = torch.randint(1, WORDS, (2, 7), generator=random)
    return {"input_ids": ids, "labels": ids}


@pytest.mark.parametrize("name", FOUND)
def test_every_site_is_found_and_no_other(name: str) -> None:
    assert kinds(make(name), given(name)) == FOUND[name][2]


def test_what_is_read_off_is_what_the_configuration_says() -> None:
    found = titles(make("Llama", rms_norm_eps=3e-5), given("Llama"))
    assert {"RMSNorm, eps 3e-05, times weight", "rotary embedding of halves", "SwiGLU"} <= found
    assert any(title.startswith("attention, scale 0.3536, 4 heads on 2, ") for title in found)
    found = titles(make("Gemma"), given("Gemma"))
    assert {"RMSNorm, eps 1e-06, times 1 + weight", "GeGLU by tanh"} <= found
    found = titles(make("Bert"), given("Bert"))
    assert "attention, scale 0.3536, weights dropped with probability 0.1" in found


def test_weights_that_are_wanted_are_no_attention() -> None:
    model, inputs = make("Bert", **WITHOUT_DROPOUT), given("Bert")
    found = kinds(model, inputs | {"output_attentions": True})
    assert "attention" not in found


@pytest.mark.parametrize(
    ("name", "options"),
    [("Llama", {}), ("Gemma", {}), ("Qwen3", {}), ("Mistral", {}), ("Bert", WITHOUT_DROPOUT), ("ViT", {}), ("T5", {})],
)
def test_models_hold(name: str, options: Any) -> None:
    holds(make(name, **options), given(name))


def test_a_trainer_sees_the_same_arguments() -> None:
    model, inputs = make("Llama"), given("Llama")
    before = inspect.signature(model.forward)
    outcome = optimized(model, inputs)
    assert "forward" in vars(model.model.norm)
    for module in model.modules():
        assert inspect.signature(module.forward) == inspect.signature(type(module).forward.__get__(module))
    assert inspect.signature(model.forward) == before
    assert outcome.applied


def test_what_a_cache_hides_is_said() -> None:
    model, inputs = make("Llama", use_cache=True), given("Llama")
    found = kinds(model, inputs)
    assert found["rms_norm"] == DECODER["rms_norm"]
    assert found["gated_activation"] == LAYERS
    outcome = optimized(model, inputs, "infer")
    assert any("Cache" in passed.reason for passed in outcome.patch.passed), outcome.patch.passed
