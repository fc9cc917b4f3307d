"""Style three: operators and methods, written into place where that is possible."""

from __future__ import annotations

import math

import torch

from tests.unit.fix.styles.shape import EPS, HEAD, angles


def turns() -> dict[str, torch.Tensor]:
    return {"cos": angles(HEAD).cos(), "sin": angles(HEAD).sin()}


def embedding(ids: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    return table[ids]


def linear(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x @ weight.t()


def rms_norm(x: torch.Tensor, weight: torch.Tensor, *, gemma: bool = False) -> torch.Tensor:
    factor = (x * x).mean(-1, True).add_(EPS).rsqrt_()
    y = x * factor
    y *= (weight + 1.0) if gemma else weight
    return y


def layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    y = x - x.sum(-1, keepdim=True) / x.shape[-1]
    y = y / (y.square().sum(-1, keepdim=True) / x.shape[-1] + 1e-5).sqrt()
    return y.mul(weight).add_(bias)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    y = torch.empty_like(x)
    first, second = x[..., ::2], x[..., 1::2]
    y[..., ::2] = first * cos - second * sin
    y[..., 1::2] = second * cos + first * sin
    return y


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, bias: torch.Tensor | None) -> torch.Tensor:
    scores = torch.einsum("...qd,...kd->...qk", q, k)
    scores *= scale
    if bias is not None:
        scores += bias
    return scores.softmax(-1) @ v


def causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    times, length = q.shape[1] // k.shape[1], q.shape[2]
    k, v = (part.unsqueeze(2).repeat(1, 1, times, 1, 1).view(len(q), q.shape[1], length, HEAD) for part in (k, v))
    hidden = torch.ones(length, length, dtype=torch.bool).triu_(1)
    if window:
        hidden = hidden | torch.ones(length, length, dtype=torch.bool).tril(-window)
    scores = (q / math.sqrt(HEAD)) @ k.mT
    return scores.masked_fill_(hidden, -torch.inf).softmax(dim=-1).matmul(v)


def gate(a: torch.Tensor, b: torch.Tensor, *, gemma: bool) -> torch.Tensor:
    if gemma:
        return a * 0.5 * (1.0 + (0.7978845608028654 * (a + 0.044715 * a * a * a)).tanh()) * b
    return a / (1.0 + (-a).exp()) * b


def linear_gelu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    h = x @ weight.t() + bias
    return h.mul(0.5) * h.mul(0.7071067811865476).erf_().add_(1.0)


def drop(x: torch.Tensor, p: float, model: torch.nn.Module) -> torch.Tensor:
    return torch.dropout(x, p, model.training)


def entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    chosen = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return (logits.logsumexp(-1) - chosen).mean()


def group_norm_silu(x: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    y = x.reshape(len(x), groups, -1)
    y = (y - y.mean(-1, keepdim=True)) * (y.var(-1, unbiased=False, keepdim=True) + 1e-5).rsqrt()
    y = y.view(x.shape) * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)
    return y * y.sigmoid()
