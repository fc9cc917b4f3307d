"""Styles two and three: no class but the model's, its parameters in a dictionary; what is done with them is another's.

The other is `functions` or `arithmetic`: modules of the same functions.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tests.unit.fix.styles.shape import (
    CHANNELS,
    GROUPS,
    HEAD,
    HEADS,
    INNER,
    LAYERS,
    LENGTH,
    SHARED,
    SIDE,
    WIDTH,
    WORDS,
    Decoder,
    random,
)  # fmt: skip

if TYPE_CHECKING:
    from types import ModuleType


class Written(nn.Module):
    """A model whose parameters are made where they are named first, by a shape."""

    def __init__(self, style: ModuleType, **shapes: tuple[int, ...]) -> None:
        super().__init__()
        self._named = style.__name__  # modules of Python are not copied
        self.p = nn.ParameterDict(
            {
                name: nn.Parameter(random(*shape) + (1.0 if "norm" in name and "bias" not in name else 0.0))
                for name, shape in shapes.items()
            }
        )

    @property
    def style(self) -> ModuleType:
        return sys.modules[self._named]


class DecoderModel(Written):
    def __init__(self, style: ModuleType, family: Decoder) -> None:
        each = {
            "norm1": (WIDTH,), "norm2": (WIDTH,), "q": (HEADS * HEAD, WIDTH), "k": (SHARED * HEAD, WIDTH),
            "v": (SHARED * HEAD, WIDTH), "o": (WIDTH, HEADS * HEAD), "gate": (INNER, WIDTH), "up": (INNER, WIDTH),
            "down": (WIDTH, INNER), "q_norm": (HEAD,), "k_norm": (HEAD,),
        }  # fmt: skip
        shapes = {f"{name}_{layer}": shape for layer in range(LAYERS) for name, shape in each.items()}
        super().__init__(style, embed=(WORDS, WIDTH), norm=(WIDTH,), head=(WORDS, WIDTH), **shapes)
        self.family = family
        for name, value in style.turns().items():
            self.register_buffer(name, value)

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        s, p, gemma = self.style, self.p, self.family.gemma
        x = s.embedding(ids, p["embed"])
        for layer in range(LAYERS):
            h = s.rms_norm(x, p[f"norm1_{layer}"], gemma=gemma)
            q = s.linear(h, p[f"q_{layer}"]).view(*ids.shape, HEADS, HEAD)
            k = s.linear(h, p[f"k_{layer}"]).view(*ids.shape, SHARED, HEAD)
            v = s.linear(h, p[f"v_{layer}"]).view(*ids.shape, SHARED, HEAD).transpose(1, 2)
            if self.family.normed:
                q = s.rms_norm(q, p[f"q_norm_{layer}"], gemma=gemma)
                k = s.rms_norm(k, p[f"k_norm_{layer}"], gemma=gemma)
            q, k = (s.rotate(part.transpose(1, 2), self.cos, self.sin) for part in (q, k))
            y = s.causal(q, k, v, self.family.window).transpose(1, 2).flatten(2)
            x = x + s.linear(y, p[f"o_{layer}"])
            h = s.rms_norm(x, p[f"norm2_{layer}"], gemma=gemma)
            gated = s.gate(s.linear(h, p[f"gate_{layer}"]), s.linear(h, p[f"up_{layer}"]), gemma=gemma)
            x = x + s.linear(gated, p[f"down_{layer}"])
        return s.entropy(s.linear(s.rms_norm(x, p["norm"], gemma=gemma), p["head"]), targets)


def _encoder_shapes() -> dict[str, tuple[int, ...]]:
    each: dict[str, tuple[int, ...]] = dict.fromkeys(("q", "k", "v", "o"), (WIDTH, WIDTH))
    each |= {"up": (INNER, WIDTH), "up_bias": (INNER,), "down": (WIDTH, INNER), "down_bias": (WIDTH,)}
    each |= dict.fromkeys(("norm1", "norm1_bias", "norm2", "norm2_bias"), (WIDTH,))
    return {f"{name}_{layer}": shape for layer in range(LAYERS) for name, shape in each.items()}


class Encoder(Written):
    """What BERT and ViT share."""

    def attend(self, x: torch.Tensor, layer: int, bias: torch.Tensor | None) -> torch.Tensor:
        s, p = self.style, self.p
        q, k, v = (s.linear(x, p[f"{name}_{layer}"]).view(*x.shape[:2], HEADS, HEAD).transpose(1, 2) for name in "qkv")
        return s.linear(s.attend(q, k, v, HEAD**-0.5, bias).transpose(1, 2).reshape(x.shape), p[f"o_{layer}"])

    def mlp(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        s, p = self.style, self.p
        h = s.linear_gelu(x, p[f"up_{layer}"], p[f"up_bias_{layer}"])
        return s.linear(h, p[f"down_{layer}"]) + p[f"down_bias_{layer}"]

    def norm(self, x: torch.Tensor, name: str, layer: int) -> torch.Tensor:
        return self.style.layer_norm(x, self.p[f"{name}_{layer}"], self.p[f"{name}_bias_{layer}"])


class Bert(Encoder):
    def __init__(self, style: ModuleType, p: float = 0.1) -> None:
        super().__init__(style, embed=(WORDS, WIDTH), places=(LENGTH, WIDTH), **_encoder_shapes())
        self.chance = p

    def forward(self, ids: torch.Tensor, targets: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        s, p = self.style, self.p
        bias = (1.0 - mask[:, None, None, :]) * -1e4
        x = s.embedding(ids, p["embed"]) + p["places"]
        for layer in range(LAYERS):
            x = self.norm(s.drop(self.attend(x, layer, bias), self.chance, self) + x, "norm1", layer)
            x = self.norm(s.drop(self.mlp(x, layer), self.chance, self) + x, "norm2", layer)
        return s.entropy(s.linear(x, p["embed"]), targets)


class ViT(Encoder):
    def __init__(self, style: ModuleType) -> None:
        super().__init__(style, patches=(WIDTH, 3, 2, 2), head=(10, WIDTH), **_encoder_shapes())

    def forward(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = nn.functional.conv2d(images, self.p["patches"], stride=2).flatten(2).transpose(1, 2)
        for layer in range(LAYERS):
            x = x + self.attend(self.norm(x, "norm1", layer), layer, None)
            x = x + self.mlp(self.norm(x, "norm2", layer), layer)
        return self.style.entropy(self.style.linear(x[:, 0], self.p["head"]), targets)


class T5(Written):
    def __init__(self, style: ModuleType) -> None:
        each: dict[str, tuple[int, ...]] = dict.fromkeys(("q", "k", "v", "o"), (WIDTH, WIDTH))
        each |= {"norm1": (WIDTH,), "norm2": (WIDTH,), "gate": (INNER, WIDTH), "up": (INNER, WIDTH)}
        each |= {"down": (WIDTH, INNER)}
        crosses = {f"c{name}": (WIDTH, WIDTH) for name in ("q", "k", "v", "o")} | {"norm3": (WIDTH,)}
        shapes = {f"{name}_e{layer}": shape for layer in range(LAYERS) for name, shape in each.items()}
        shapes |= {f"{name}_d{layer}": shape for layer in range(LAYERS) for name, shape in (each | crosses).items()}
        super().__init__(
            style, embed=(WORDS, WIDTH), near=(7, HEADS), back=(7, HEADS), norm_e=(WIDTH,), norm_d=(WIDTH,), **shapes
        )

    def attend(self, x: torch.Tensor, y: torch.Tensor, names: str, at: str, bias: Any) -> torch.Tensor:
        s, p = self.style, self.p
        q, k, v = (
            s.linear(part, p[f"{names}{name}_{at}"]).view(*part.shape[:2], HEADS, HEAD).transpose(1, 2)
            for part, name in ((x, "q"), (y, "k"), (y, "v"))
        )
        return s.linear(s.attend(q, k, v, 1.0, bias).transpose(1, 2).reshape(x.shape), p[f"{names}o_{at}"])

    def layer(self, x: torch.Tensor, at: str, bias: torch.Tensor, memory: torch.Tensor | None) -> torch.Tensor:
        s, p = self.style, self.p
        h = s.rms_norm(x, p[f"norm1_{at}"])
        x = x + self.attend(h, h, "", at, bias)
        if memory is not None:
            x = x + self.attend(s.rms_norm(x, p[f"norm3_{at}"]), memory, "c", at, None)
        h = s.rms_norm(x, p[f"norm2_{at}"])
        gated = s.gate(s.linear(h, p[f"gate_{at}"]), s.linear(h, p[f"up_{at}"]), gemma=True)
        return x + s.linear(gated, p[f"down_{at}"])

    def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        s, p = self.style, self.p
        apart = (torch.arange(LENGTH)[None] - torch.arange(LENGTH)[:, None]).clamp(-3, 3) + 3
        later = torch.full((LENGTH, LENGTH), float("-inf")).triu(1)
        x, y = s.embedding(ids, p["embed"]), s.embedding(targets, p["embed"])
        for layer in range(LAYERS):
            x = self.layer(x, f"e{layer}", s.embedding(apart, p["near"]).permute(2, 0, 1)[None], None)
        memory = s.rms_norm(x, p["norm_e"])
        for layer in range(LAYERS):
            bias = s.embedding(apart, p["back"]).permute(2, 0, 1)[None] + later
            y = self.layer(y, f"d{layer}", bias, memory)
        return s.entropy(s.linear(s.rms_norm(y, p["norm_d"]) * WIDTH**-0.5, p["embed"]), targets)


class UNetBlock(Written):
    def __init__(self, style: ModuleType) -> None:
        vectors = {f"norm{n}{kind}": (CHANNELS,) for n in (1, 2, 3) for kind in ("", "_bias")}
        super().__init__(
            style, conv1=(CHANNELS, CHANNELS, 3, 3), conv2=(CHANNELS, CHANNELS, 3, 3), time=(CHANNELS, WIDTH),
            qkv=(3 * CHANNELS, CHANNELS, 1, 1), out=(CHANNELS, CHANNELS, 1, 1), **vectors,
        )  # fmt: skip

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        s, p, conv = self.style, self.p, nn.functional.conv2d
        h = conv(s.group_norm_silu(x, GROUPS, p["norm1"], p["norm1_bias"]), p["conv1"], padding=1)
        h = h + s.linear(nn.functional.silu(time), p["time"])[:, :, None, None]
        x = x + conv(s.group_norm_silu(h, GROUPS, p["norm2"], p["norm2_bias"]), p["conv2"], padding=1)
        h = nn.functional.group_norm(x, GROUPS, p["norm3"], p["norm3_bias"])
        q, k, v = conv(h, p["qkv"]).view(len(x), 3, 1, CHANNELS, SIDE * SIDE).transpose(-2, -1).unbind(1)
        return x + conv(s.attend(q, k, v, CHANNELS**-0.5, None).mT.reshape(x.shape), p["out"])
