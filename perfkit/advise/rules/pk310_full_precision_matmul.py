"""PK310 full-precision-matmul: float32 products without TF32.

What it does:
    Counts the time of kernels that multiply matrices in full single
    precision, on devices from NVIDIA's Ampere generation on.

Why it is slow:
    Tensor cores are several times as fast as the units for single precision.
    They take float32 as TF32, which keeps the range and cuts the mantissa to
    10 bits. For convolutions PyTorch allows that by default, for products of
    matrices it does not.

Example:
    model = Transformer().cuda()        # float32, no autocast
    loss = model(batch).sum()           # kernels named sgemm

Fix:
    torch.set_float32_matmul_precision("high")      # TF32

    Or bf16 for the whole of it: `torch.autocast("cuda", torch.bfloat16)`.

Fix safety:
    Lossy. TF32 rounds products to three digits. Training is rarely troubled
    by it; solvers and ill-conditioned sums are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from perfkit.advise.loss import quote
from perfkit.advise.rule import Rule
from perfkit.advise.saving import Saving, timelines, width_of
from perfkit.model.prediction import SpeedUp, Which
from perfkit.model.quantity import duration

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution

__all__ = ["RULE"]

CAPABLE: Final = 8
"""Major version of the capability of Ampere, the first that has TF32."""
MAKERS: Final = ("nvidia", "tesla", "geforce", "quadro")
SLOWEST, USUAL, FASTEST = 1.5, 3.0, 6.0
"""How many times faster products are in TF32: less where they are small or short of memory bandwidth."""


def evaluate(attribution: Attribution) -> Iterator[Finding]:
    """Find products of matrices in full single precision on a device that could do better."""
    for timeline in timelines(attribution):
        width = width_of(attribution, timeline)
        able = timeline.device_name.lower().startswith(MAKERS)
        if width is None or width.capability < CAPABLE or not able:
            continue
        ns = width.full_precision_ns
        saving = Saving(attribution, timeline, ns, *(ns * (1 - 1 / factor) for factor in (SLOWEST, USUAL, FASTEST)))
        if not saving.matters:
            continue
        names = [row.name for row in attribution.kernels if row.name in width.full_precision]
        yield saving.finding(
            RULE.code,
            RULE.title,
            where=names[0] if names else "",
            evidence=tuple(
                f"{quote(row.name)}: {duration(row.device_ns)}." for row in attribution.kernels if row.name in names[:2]
            ),
            fix='`torch.set_float32_matmul_precision("high")`, or `torch.autocast` with bf16.',
            safety="lossy",
            what_if=(SpeedUp(Which(names=tuple(names)), factor=USUAL),),
        )
        return


RULE = Rule(
    code="PK310",
    name="full-precision-matmul",
    title="Matrices are multiplied without tensor cores",
    symptom="multiplies matrices without tensor cores",
    thread_symptom="multiplies matrices without tensor cores",
    documentation=__doc__ or "",
    evaluate=evaluate,
)
