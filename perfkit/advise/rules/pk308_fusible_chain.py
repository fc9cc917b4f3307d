"""PK308 fusible-chain: operators that could be one pass over memory.

What it does:
    Looks in the forward pass for runs of element-wise operators, norms,
    softmaxes and losses with no matrix product between them, and adds their
    backward pass. Names the patterns that are known: rms_norm, layer_norm,
    gelu, gated activations, rope, softmax, loss, residual_norm. What a fused
    operator would take is the longest of its parts.

Why it is slow:
    Each of them reads its input from memory and writes its result back, and
    does next to nothing in between. Fused, the data is read once and written
    once, and there is one launch instead of many.

Example:
    def rms_norm(x, weight):            # six operators, six passes
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight

Fix:
    torch.nn.functional.rms_norm(x, (width,), weight, eps=1e-6)

    Use the operator that PyTorch has for it (`nn.RMSNorm`, `nn.LayerNorm`,
    `nn.GELU(approximate="tanh")`, `F.softmax`), or let `torch.compile` fuse
    the function or module in which it stands.

Fix safety:
    Check. A fused operator rounds less often, so results differ in the last
    digits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, rows_of, timelines, work_of
from perfkit.model.prediction import FuseKernels
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.prediction import WhatIf
    from perfkit.model.signs import Chain

__all__ = ["RULE"]

NOT_FUSED: Final = ("attention", "batch_norm")
"""Chains that have a rule of their own."""
MOST_NAMED: Final = 3
LEFT_OF_ARITHMETIC: Final = 0.25
NATIVE: Final = {
    "rms_norm": "`nn.RMSNorm`",
    "layer_norm": "`nn.LayerNorm`",
    "gelu": "`nn.GELU`",
    "softmax": "`F.softmax` on scaled scores, or `F.scaled_dot_product_attention`",
    "loss": "`F.cross_entropy`",
}


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find runs of operators that could be one, on the timeline that loses most to them."""
    found = [saving for timeline in timelines(attribution) if (saving := saving_of(attribution, timeline)).matters]
    if not found:
        return
    saving = max(found, key=lambda one: one.ns)
    chains = of(attribution, saving.timeline)
    worst = chains[0]
    native = NATIVE.get(worst.pattern)
    yield saving.finding(
        RULE.code,
        RULE.title,
        where=worst.where or worst.module,
        evidence=tuple(describe(chain) for chain in chains[:MOST_NAMED]),
        fix=f"Use {native} for it, or `torch.compile` the function." if native else "`torch.compile` the function.",
        safety="check",
        records=sum(chain.records for chain in chains),
        what_if=changes(attribution, saving.timeline, chains),
    )._replace(rows=rows_of(chains))


def of(attribution: Attribution, timeline: Timeline) -> list[Chain]:
    """Return the chains of a timeline, those with most to save first."""
    chains = [row for row in attribution.signs.chains if row.timeline == timeline.id and row.pattern not in NOT_FUSED]
    return sorted(chains, key=lambda chain: chain.kept_ns - chain.time_ns - chain.idle_ns)


def saving_of(attribution: Attribution, timeline: Timeline) -> Saving:
    """Return what fusing all chains of a timeline saves."""
    chains = of(attribution, timeline)
    saved = sum(chain.time_ns - chain.kept_ns for chain in chains)
    most = sum(chain.time_ns - least_kept(chain) for chain in chains)
    work = work_of(attribution, timeline)
    # A fused backward pass computes once more what the forward pass did not keep.
    again = sum(chain.arithmetic_ns for chain in chains) if work and work.backward else 0
    idle = sum(chain.idle_ns * (1 - 1 / max(len(chain.operators), 1)) for chain in chains)
    lost = sum(chain.time_ns + chain.idle_ns for chain in chains)
    return Saving(attribution, timeline, lost, 0.75 * (saved - again), saved + idle / 2, 1.25 * most + idle)


def least_kept(chain: Chain) -> float:
    """Return what stays of a chain at least: a processor may compute a function in less time within another operator.

    As an operator, `tanh` is a library's, in `gelu` it is another: it took 0.15 to 0.6 times as long as all of `gelu`,
    by the instructions that either may use (SSE to AVX-512 on an Intel Xeon), and there are processors that neither
    was written for.
    """
    if not chain.arithmetic_ns:
        return chain.kept_ns
    return min(chain.kept_ns, max(chain.moving_ns, LEFT_OF_ARITHMETIC * chain.arithmetic_ns))


def describe(chain: Chain) -> str:
    """Say what a chain is made of, and what it takes."""
    place = f" in {quote(chain.where or chain.module)}" if chain.where or chain.module else ""
    named = "" if chain.pattern == "pointwise" else f" ({chain.pattern})"
    took = duration(chain.time_ns)
    left = duration(chain.kept_ns)
    return (
        f"{quote(' '.join(chain.operators))}{named}{place}: {count(chain.calls, 'time')}, {took}; as one about {left}."
    )


def changes(attribution: Attribution, timeline: Timeline, chains: list[Chain]) -> tuple[WhatIf, ...]:
    """Return the program with the operators of each chain as one, and their backward passes, where all is known.

    A thread does one thing after another: there a replay knows no more.
    """
    work = work_of(attribution, timeline)
    if timeline.kind != "device" or work is None:
        return ()
    return tuple(FuseKernels(runs=(*chain.kernels, *chain.backward)) for chain in chains if chain.kernels)


RULE = Rule(
    code="PK308",
    name="fusible-chain",
    title="Element-wise operators run one by one",
    symptom="runs element-wise operators one by one",
    thread_symptom="runs element-wise operators one by one",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
