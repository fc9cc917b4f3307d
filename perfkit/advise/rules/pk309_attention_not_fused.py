"""PK309 attention-not-fused: scores of attention are written to memory.

What it does:
    Looks for a product, a softmax and a product in a row, with at most
    scaling, masks and dropout between, and for calls of
    `scaled_dot_product_attention` that fell back to that. Counts what is not
    the two products, and the backward pass with it.

Why it is slow:
    The matrix of scores has the length of the sequence squared. Written out,
    it goes to memory and back for the product, the scale, the mask, the
    softmax and the dropout; a fused kernel keeps it on the chip. On long
    sequences that is most of the time, and most of the memory.

Example:
    scores = q @ k.transpose(-2, -1) / math.sqrt(width)
    out = scores.softmax(-1) @ v

Fix:
    out = F.scaled_dot_product_attention(q, k, v)

    For models of `transformers`: `attn_implementation="sdpa"`, or
    `"flash_attention_2"`. Where it is called already and fell back, the
    reason is the mask, the type or the width of a head:
    `torch.nn.attention.sdpa_kernel` says which kernels were refused, and why.

Fix safety:
    Check. Sums are made in another order; weights of attention are no longer
    there to be looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, rows_of, timelines, width_of, work_of
from perfkit.model.prediction import FuseKernels
from perfkit.model.quantity import count, duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline
    from perfkit.model.prediction import WhatIf
    from perfkit.model.signs import Chain

__all__ = ["RULE"]


LEFT: Final = (1.15, 0.75, 0.35)
"""What a fused kernel takes, in parts of the two products alone: at most, usually, at least.

It computes the same products, at up to 73 % of the peak of the chip where a product alone reaches 85 % (Dao 2023,
FlashAttention-2, sections 1 and 4): 1.15 times as long, where the products are bound by arithmetic. Written out, they
seldom are: scores of heads 64 to 128 wide are written and read at 16 to 64 operations a byte, where chips since 2020
need 150 or more, so that the products alone lose half to three quarters of their time to memory.
"""

LEFT_OF_PRODUCTS: Final = (1.15, 1.0, 0.85)
"""The same of a processor: it is the products that take its time."""
OF_THE_PEAK: Final = (0.8, 0.93, 1.0)
"""Part of the rate of large products at which a processor multiplies the blocks of a fused attention: with half of the
softmax left, that was 20.8 ms where it took 20.9 (AVX2), and 2.1 where it took 2.3 (AVX-512, another size)."""
LEFT_OF_SOFTMAX: Final = (0.75, 0.5, 0.25)
"""Of the softmax the exponentials remain."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find attention that is not one kernel."""
    for timeline in timelines(attribution):
        chains = [row for row in attribution.signs.chains if row.timeline == timeline.id and row.pattern == "attention"]
        time, kept = sum(row.time_ns for row in chains), sum(row.kept_ns for row in chains)
        idle = sum(row.idle_ns for row in chains)
        low, usual, high = (time - part * kept for part in LEFT)
        computes = sum(row.arithmetic_ns for row in chains)
        if computes:
            products = products_of_a_processor(attribution, timeline, chains)
            left = (ns + other * computes for ns, other in zip(products, LEFT_OF_SOFTMAX, strict=True))
            low, usual, high = (time - ns for ns in left)
            high += sum(row.calling_ns for row in chains)
        saving = Saving(attribution, timeline, time + idle, low, usual + idle / 2, high + idle)
        if not saving.matters:
            continue
        worst = chains[0]
        yield saving.finding(
            RULE.code,
            RULE.title,
            where=worst.where or worst.module,
            evidence=tuple(describe(chain) for chain in chains[:2]),
            fix='Call `F.scaled_dot_product_attention`; in `transformers`: `attn_implementation="sdpa"`.',
            safety="check",
            what_if=changes(attribution, timeline, chains),
            records=sum(row.records for row in chains),
        )._replace(rows=rows_of(chains))
        return


def products_of_a_processor(attribution: Attribution, timeline: Timeline, chains: list[Chain]) -> list[float]:
    """Return how long the products take when scores stay in the caches: at most, usually, at least."""
    kept, flops = sum(row.kept_ns for row in chains), sum(row.flops for row in chains)
    width = width_of(attribution, timeline)
    left = [part * kept for part in LEFT_OF_PRODUCTS]
    if not width or not width.peak_flops_per_s or not flops:
        return left
    arithmetic = (flops / (part * width.peak_flops_per_s) * 1e9 for part in OF_THE_PEAK)
    return [min(pair) for pair in zip(left, arithmetic, strict=True)]


def changes(attribution: Attribution, timeline: Timeline, chains: list[Chain]) -> tuple[WhatIf, ...]:
    """Return the program with one kernel for each attention; of the backward pass the kernels are not known."""
    work = work_of(attribution, timeline)
    if timeline.kind != "device" or work is None or work.backward:
        return ()
    found = []
    for chain in chains:
        most, usual, least = (round(part * chain.kept_ns / chain.calls) for part in LEFT)
        if chain.kernels:
            found.append(FuseKernels(runs=chain.kernels, fused_ns=usual, fused_ends_ns=(least, most)))
    return tuple(found)


def describe(chain: Chain) -> str:
    """Say what attention is made of, and what of it is no product."""
    place = f" in {quote(chain.where or chain.module)}" if chain.where or chain.module else ""
    rest = duration(chain.time_ns - chain.kept_ns)
    took = duration(chain.time_ns)
    return f"{quote(' '.join(chain.operators))}{place}: {count(chain.calls, 'time')}, {took}, {rest} of it no product."


RULE = Rule(
    code="PK309",
    name="attention-not-fused",
    title="Attention is written out, not fused",
    symptom="works on attention that is written out",
    thread_symptom="works on attention that is written out",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
