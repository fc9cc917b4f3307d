"""Style two: functions of PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812  as everybody does

from tests.unit.fix.styles.shape import EPS, HEAD, angles

embedding, linear = F.embedding, F.linear


def turns() -> dict[str, torch.Tensor]:
    both = torch.cat((angles(HEAD), angles(HEAD)), -1)
    return {"cos": both.cos(), "sin": both.sin()}


def rms_norm(x: torch.Tensor, weight: torch.Tensor, *, gemma: bool = False) -> torch.Tensor:
    return F.rms_norm(x, weight.shape, 1.0 + weight if gemma else weight, EPS)


def layer_norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, weight.shape, weight, bias)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    half = x.shape[-1] // 2
    turned = torch.cat((torch.neg(x[..., half:]), x[..., :half]), dim=-1)
    return torch.add(torch.mul(x, cos), torch.mul(turned, sin))


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float, bias: torch.Tensor | None) -> torch.Tensor:
    scores = torch.mul(torch.matmul(q, torch.transpose(k, -2, -1)), scale)
    return torch.matmul(F.softmax(scores if bias is None else torch.add(scores, bias), dim=-1), v)


def causal(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int) -> torch.Tensor:
    times, length = q.shape[1] // k.shape[1], q.shape[2]
    k, v = (torch.repeat_interleave(part, times, dim=1) for part in (k, v))
    at = torch.arange(length)
    hidden = at[None, :] > at[:, None]
    if window:
        hidden = hidden | (at[None, :] <= at[:, None] - window)
    return attend(q, k, v, HEAD**-0.5, torch.zeros(length, length).masked_fill(hidden, float("-inf")))


def gate(a: torch.Tensor, b: torch.Tensor, *, gemma: bool) -> torch.Tensor:
    return torch.mul(F.gelu(a, approximate="tanh") if gemma else F.silu(a), b)


def linear_gelu(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.gelu(F.linear(x, weight, bias))


def drop(x: torch.Tensor, p: float, model: torch.nn.Module) -> torch.Tensor:
    return F.dropout(x, p, training=model.training)


def entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.nll_loss(F.log_softmax(logits.reshape(-1, logits.shape[-1]), dim=-1), targets.reshape(-1))


def group_norm_silu(x: torch.Tensor, groups: int, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return F.silu(F.group_norm(x, groups, weight, bias))
