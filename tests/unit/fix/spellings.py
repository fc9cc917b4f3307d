"""Operations, each spelled in many ways, and functions that are nearly the same but not one.

Each is a function of the tensors that its table entry makes; the first ones are given, parameters come after.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

if TYPE_CHECKING:
    from collections.abc import Callable

    Function = Callable[..., torch.Tensor]

ROWS, WORDS, WIDTH = 5, 11, 8


class Spelled(torch.nn.Module):
    """A function of what is given and of parameters."""

    def __init__(self, function: Function, *parameters: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        self.parameters_ = torch.nn.ParameterList(torch.nn.Parameter(value) for value in parameters)

    def forward(self, *given: torch.Tensor) -> Any:
        return self.function(*given, *self.parameters_)


class Table(NamedTuple):
    """Functions, what they are given, their parameters' shapes, and what the first are and the last are not."""

    kind: str
    given: Callable[[], tuple[torch.Tensor, ...]]
    shapes: tuple[tuple[int, ...], ...]
    same: dict[str, Function]
    other: dict[str, Function]


def classes() -> tuple[torch.Tensor, ...]:
    return torch.randn(ROWS, WORDS, requires_grad=True), torch.randint(WORDS, (ROWS,))


def _shifted(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    x = x - x.amax(-1, keepdim=True).detach()
    return (x.exp().sum(-1).log() - x[torch.arange(ROWS), t]).mean()


ENTROPY = Table(
    "cross_entropy", classes, (),
    {
        "function": F.cross_entropy,
        "sum": lambda x, t: F.cross_entropy(x, t, reduction="sum"),
        "each": lambda x, t: F.cross_entropy(x, t, reduction="none"),
        "smoothed": lambda x, t: F.cross_entropy(x, t, label_smoothing=0.1),
        "ignoring": lambda x, t: F.cross_entropy(x, t, ignore_index=3),
        "two steps": lambda x, t: F.nll_loss(F.log_softmax(x, -1), t),
        "gathered": lambda x, t: -x.log_softmax(-1).gather(-1, t[:, None]).mean(),
        "indexed": lambda x, t: -(x.log_softmax(dim=1)[torch.arange(ROWS), t]).mean(),
        "logsumexp": lambda x, t: (torch.logsumexp(x, -1) - x.gather(1, t.unsqueeze(1)).squeeze(1)).sum() / ROWS,
        "z-loss": lambda x, t: F.cross_entropy(x, t) + 1e-3 * x.logsumexp(-1).square().mean(),
    },
    {
        "other dimension": lambda x, t: F.nll_loss(F.log_softmax(x, 0), t),
        "no logarithm": lambda x, t: F.nll_loss(F.softmax(x, -1), t),
        "detached": lambda x, t: (x.logsumexp(-1).detach() - x.gather(1, t[:, None]).squeeze(1)).mean(),
        "weighed": lambda x, t: F.cross_entropy(x, t, weight=torch.linspace(0.5, 1.5, WORDS)),
        "halved": lambda x, t: (x.logsumexp(-1) - 0.5 * x.gather(1, t[:, None]).squeeze(1)).mean(),
        "shared": lambda x, t: (F.log_softmax(x, -1).sum() + F.nll_loss(F.log_softmax(x, -1) * 1.5, t)),
    },
)  # fmt: skip


def turns() -> tuple[torch.Tensor, ...]:
    angles = torch.randn(ROWS, WIDTH // 2)
    x = torch.randn(2, 3, ROWS, WIDTH, requires_grad=True)
    return x, angles.cos(), angles.sin()


def both(angle: torch.Tensor) -> torch.Tensor:
    return torch.cat((angle, angle), -1)


def half(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return torch.cat((-second, first), -1)


def _split(x: torch.Tensor, c: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    first, second = x[..., : WIDTH // 2], x[..., WIDTH // 2 :]
    return torch.cat((first * c - second * s, second * c + first * s), -1)


def _stacked(x: torch.Tensor, c: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    first, second = x[..., ::2], x[..., 1::2]
    return torch.stack((first * c - second * s, first * s + second * c), -1).flatten(-2)


def _reshaped(x: torch.Tensor, c: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    first, second = x.reshape(*x.shape[:-1], -1, 2).unbind(-1)
    return torch.stack([first * c - second * s, second * c + first * s], dim=-1).view(x.shape)


def _complex(x: torch.Tensor, c: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * torch.complex(c, s)).flatten(3).type_as(x)


def _backwards(x: torch.Tensor, c: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    first, second = x[..., : WIDTH // 2], x[..., WIDTH // 2 :]
    return torch.cat((first * c + second * s, second * c + first * s), -1)


ROPE = Table(
    "rope", turns, (),
    {
        "halves": lambda x, c, s: x * both(c)[None, None] + half(x) * both(s)[None, None],
        "split": _split,
        "rolled": lambda x, c, s: torch.cat((x, half(x)), -1).view(2, 3, ROWS, 2, WIDTH).mul(
            torch.stack((both(c), both(s)), -2)
        ).sum(-2),
        "stacked": _stacked,
        "reshaped": _reshaped,
        "complex": _complex,
    },
    {
        "backwards": _backwards,
        "no sine": lambda x, c, s: x * both(c) + half(x) * both(c) * both(s),
        "not turned": lambda x, c, s: x * both(c) + x * both(s),
        "one sign": lambda x, c, s: x * both(c) + torch.cat((x[..., 4:], x[..., :4]), -1) * both(s),
    },
)  # fmt: skip


def scores() -> tuple[torch.Tensor, ...]:
    return torch.randn(2, 3, ROWS, ROWS, requires_grad=True), (torch.rand(2, 1, 1, ROWS) > 0.3)


SOFTMAX = Table(
    "softmax", scores, (),
    {
        "scaled": lambda x, m: F.softmax(x * 0.25, dim=-1) + 0 * m,
        "divided": lambda x, m: (x / 3.0).softmax(-1) + 0 * m,
        "masked": lambda x, m: torch.softmax(torch.masked_fill(x / math.sqrt(8), ~m, -1e9), -1),
        "where": lambda x, m: torch.softmax(torch.where(m, x * 2.0, torch.tensor(float("-inf"))), -1),
        "causal": lambda x, m: (x + torch.full((ROWS, ROWS), -1e9).triu(1)).softmax(-1) + 0 * m,
    },
    {
        "other dimension": lambda x, m: (x * 0.25).softmax(-2) + 0 * m,
        "scaled after": lambda x, m: x.softmax(-1) * 0.25 + 0 * m,
        "masked after": lambda x, m: (x.softmax(-1) * m),
    },
)  # fmt: skip


def rows() -> tuple[torch.Tensor, ...]:
    return torch.randn(3, ROWS, WIDTH, requires_grad=True), torch.randn(3, ROWS, WIDTH, requires_grad=True)


def _added(x: torch.Tensor, r: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    total = x + r
    mean, variance = total.mean(-1, keepdim=True), total.var(-1, unbiased=False, keepdim=True)
    return (total - mean) * torch.rsqrt(variance + 1e-5) * w + b, total


def _normed(x: torch.Tensor, variance: Function) -> torch.Tensor:
    return (x - x.mean(-1, keepdim=True)) / (variance(x, -1, keepdim=True) + 1e-5).sqrt()


ADD_LAYER_NORM = Table(
    "add_layer_norm", rows, ((WIDTH,), (WIDTH,)),
    {
        "function": lambda x, r, w, b: F.layer_norm(r + x, (WIDTH,), w, b),
        "the sum, too": _added,
        "no bias": lambda x, r, w, b: F.layer_norm(r + x, (WIDTH,), w, None) + 0 * b.sum(),
    },
    {
        "subtracted": lambda x, r, w, b: F.layer_norm(r - x, (WIDTH,), w, b),
        "unbiased": lambda x, r, w, b: _normed(x + r, torch.var) * w + b,
        "epsilon outside": lambda x, r, w, b: (x + r - (x + r).mean(-1, True))
        / ((x + r).std(-1, unbiased=False, keepdim=True) + 1e-5) * w + b,
    },
)  # fmt: skip


def images() -> tuple[torch.Tensor, ...]:
    return (torch.randn(2, 6, 4, 4, requires_grad=True),)


GROUP_NORM = Table(
    "group_norm_silu", images, ((6,), (6,)),
    {
        "function": lambda x, w, b: F.silu(F.group_norm(x, 3, w, b, 1e-6)),
        "written": lambda x, w, b: torch.sigmoid(F.group_norm(x, 2, w, b)) * F.group_norm(x, 2, w, b),
    },
    {
        "another gate": lambda x, w, b: F.group_norm(x, 3, w, b) * torch.sigmoid(1.702 * F.group_norm(x, 3, w, b)),
        "bias after": lambda x, w, b: F.silu(F.group_norm(x, 3, w)) + b[:, None, None],
        "activation first": lambda x, w, b: F.group_norm(F.silu(x), 3, w, b),
    },
)  # fmt: skip
BIAS_GELU = Table(
    "bias_gelu", rows, ((12, WIDTH), (12,)),
    {
        "function": lambda x, r, w, b: F.gelu(F.linear(x + 0 * r, w, b)),
        "tanh": lambda x, r, w, b: F.gelu((x - r) @ w.t() + b, approximate="tanh"),
        "matrix": lambda x, r, w, b: F.gelu(torch.matmul(x - r, w.mT) + b),
    },
    {
        "bias after": lambda x, r, w, b: F.gelu(F.linear(x - r, w)) + b,
        "quick": lambda x, r, w, b: F.linear(x - r, w, b) * torch.sigmoid(1.702 * F.linear(x - r, w, b)),
        "ReLU": lambda x, r, w, b: F.relu(F.linear(x - r, w, b)),
    },
)  # fmt: skip


def indices() -> tuple[torch.Tensor, ...]:
    return (torch.randint(WORDS, (3, ROWS)),)


BAG = Table(
    "embedding_bag", indices, ((WORDS, WIDTH),),
    {
        "sum": lambda i, w: F.embedding(i, w).sum(-2),
        "mean": lambda i, w: F.embedding(i, w).mean(1),
        "indexed": lambda i, w: w[i].sum(dim=1),
    },
    {
        "other dimension": lambda i, w: F.embedding(i, w).sum(0),
        "no gradient for one": lambda i, w: F.embedding(i, w, padding_idx=0).sum(-2),
        "squared": lambda i, w: F.embedding(i, w).square().sum(-2),
    },
)  # fmt: skip


def heads() -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(2, size, ROWS, WIDTH, requires_grad=True) for size in (4, 2, 2))


def grouped(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    k, v = k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
    return (q * scale @ k.mT).softmax(-1) @ v


def _otherwise_repeated(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    k, v = k.repeat(1, 2, 1, 1), v.repeat(1, 2, 1, 1)
    return (q @ k.mT).softmax(-1) @ v


def _lower() -> torch.Tensor:
    return torch.ones(ROWS, ROWS, dtype=torch.bool).tril()


ATTENTION = Table(
    "attention", heads, (),
    {
        "grouped": lambda q, k, v: grouped(q, k, v, 0.3),
        "repeated for PyTorch": lambda q, k, v: F.scaled_dot_product_attention(
            q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)
        ),
        "causal for PyTorch": lambda q, k, v: F.scaled_dot_product_attention(
            q[:, :2], k, v, attn_mask=_lower()
        ),
        "otherwise repeated": _otherwise_repeated,
        "dropped": lambda q, k, v: F.dropout((q[:, :2] @ k.mT).softmax(-1), 0.2) @ v,
        "causal by arange": lambda q, k, v: torch.where(
            torch.arange(ROWS) <= torch.arange(ROWS)[:, None], q[:, :2] @ k.mT, -1e30
        ).softmax(-1) @ v,
    },
    {
        "called as it should be": lambda q, k, v: F.scaled_dot_product_attention(q[:, :2], k, v, is_causal=True),
        "dropped before": lambda q, k, v: F.dropout(q[:, :2] @ k.mT, 0.2).softmax(-1) @ v,
        "other dimension": lambda q, k, v: F.dropout((q[:, :2] @ k.mT).softmax(-2), 0.2) @ v,
        "masked after": lambda q, k, v: ((q[:, :2] @ k.mT).softmax(-1) * _lower()) @ v,
        "no softmax": lambda q, k, v: (q[:, :2] @ k.mT).sigmoid() @ v,
        "turned": lambda q, k, v: (q[:, :2] @ k.mT).softmax(-1).mT @ v,
    },
)  # fmt: skip
TABLES = (ENTROPY, ROPE, SOFTMAX, ADD_LAYER_NORM, GROUP_NORM, BIAS_GELU, BAG, ATTENTION)
