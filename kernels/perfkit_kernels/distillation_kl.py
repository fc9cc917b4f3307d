"""Kullback-Leibler divergence of a student from its teacher, both softened by a temperature.

    loss = T^2 * sum_j p_j * (log p_j - log q_j),    p = softmax(t / T),    q = softmax(s / T)
    ds_j = dloss * T * (q_j - p_j)

Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015 (arXiv:1503.02531). Both rows are read
once: where a maximum grows, the sum of the terms so far, e^(t - M) * ((t - M) - (s - N)), is moved along with it. The
loss is float32, as where a model makes its logits float32 first.

Bytes moved: forward, both logits once; backward, both and the student's gradient once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.cross_entropy import REDUCTIONS
from perfkit_kernels.dialect import cdiv, jit, tl
from perfkit_kernels.operators import fixed, gradients, register, usable
from perfkit_kernels.rows import POINTS, WARPS_OF_POINTS, as_rows, tile
from perfkit_kernels.spec import Compilation, Spec, Traffic, pointer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfkit_kernels.spec import Maker

__all__ = ["SPEC", "distillation_kl"]

WIDEST: Final = 4_096


def reference(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0, reduction: str = "mean"
) -> torch.Tensor:
    """Return what eager PyTorch makes of it; float64 stays float64."""
    wide = torch.promote_types(student.dtype, torch.float32)
    softened = torch.log_softmax(student.to(wide) / temperature, -1)
    aim = torch.softmax(teacher.to(wide) / temperature, -1)
    losses = torch.nn.functional.kl_div(softened, aim, reduction="none").sum(-1) * temperature**2
    return _reduced(losses, reduction)


def _reduced(losses: torch.Tensor, reduction: str) -> torch.Tensor:
    """Reduce the losses of rows."""
    return losses if reduction == "none" else losses.mean() if reduction == "mean" else losses.sum()


@jit
def _rescaled(highest, higher):
    """Return what a sum of exponentials is multiplied by when its maximum grows; 0 where there was none."""
    return tl.where(highest == -float("inf"), 0.0, tl.exp(highest - higher))


@jit
def _forward(
    s_ptr, t_ptr, loss_ptr, parts_ptr, s_stride, t_stride, rows, width, temperature, factor,
    ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column, real = tl.arange(0, BLOCK)[None, :], (row < rows)[:, None]
    s_row, t_row = s_ptr + row[:, None] * s_stride, t_ptr + row[:, None] * t_stride
    s_top = tl.full([ROWS, BLOCK], -float("inf"), tl.float32)
    t_top = tl.full([ROWS, BLOCK], -float("inf"), tl.float32)
    s_sum, t_sum = tl.zeros([ROWS, BLOCK], tl.float32), tl.zeros([ROWS, BLOCK], tl.float32)
    terms = tl.zeros([ROWS, BLOCK], tl.float32)
    for start in range(0, width, BLOCK):
        at, inside = start + column, real & (start + column < width)
        s = tl.load(s_row + at, mask=inside, other=-float("inf")).to(tl.float32)
        t = tl.load(t_row + at, mask=inside, other=-float("inf")).to(tl.float32)
        s, t = tl.div_rn(s, temperature), tl.div_rn(t, temperature)
        s_higher, t_higher = tl.maximum(s_top, s), tl.maximum(t_top, t)
        s_base = tl.where(s_higher == -float("inf"), 0.0, s_higher)
        t_base = tl.where(t_higher == -float("inf"), 0.0, t_higher)
        grown = tl.where(
            t_sum > 0.0, (t_top - t_base) - (tl.where(s_top == -float("inf"), s_base, s_top) - s_base), 0.0
        )
        weight = tl.exp(t - t_base)
        old = _rescaled(t_top, t_base)
        terms = old * (terms + t_sum * grown) + tl.where(weight == 0.0, 0.0, weight * ((t - t_base) - (s - s_base)))
        t_sum = t_sum * old + weight
        s_sum = s_sum * _rescaled(s_top, s_base) + tl.exp(s - s_base)
        s_top, t_top = s_higher, t_higher
    s_all, t_all = tl.max(s_top, 1), tl.max(t_top, 1)
    s_shift, t_shift = s_top - s_all[:, None], t_top - t_all[:, None]
    old = tl.exp(t_shift)
    shift = tl.where(t_sum > 0.0, t_shift - tl.where(s_top == -float("inf"), 0.0, s_shift), 0.0)
    s_log = tl.log(tl.sum(s_sum * tl.exp(s_shift), 1))
    total = tl.sum(t_sum * old, 1)
    t_log = tl.log(total)
    loss = tl.sum(old * (terms + t_sum * shift), 1) / total
    pivot = tl.where(tl.abs(loss) < float("inf"), loss, 0.0)  # a second look at what the first sum lost to rounding
    loss = tl.sum(old * (terms + t_sum * (shift - pivot[:, None])), 1) / total + pivot
    loss += s_log - t_log
    tl.store(loss_ptr + row, loss * factor, mask=row < rows)
    tl.store(parts_ptr + row, s_all, mask=row < rows)
    tl.store(parts_ptr + rows + row, s_log, mask=row < rows)
    tl.store(parts_ptr + 2 * rows + row, t_all, mask=row < rows)
    tl.store(parts_ptr + 3 * rows + row, t_log, mask=row < rows)


@jit
def _backward(
    slope_ptr, s_ptr, t_ptr, parts_ptr, ds_ptr, s_stride, t_stride, rows, width, blocks, temperature,
    BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    row, column = program // blocks, (program % blocks) * BLOCK + tl.arange(0, BLOCK)
    s_top, s_log = tl.load(parts_ptr + row), tl.load(parts_ptr + rows + row)
    t_top, t_log = tl.load(parts_ptr + 2 * rows + row), tl.load(parts_ptr + 3 * rows + row)
    s = tl.load(s_ptr + row * s_stride + column, mask=column < width, other=0.0).to(tl.float32)
    t = tl.load(t_ptr + row * t_stride + column, mask=column < width, other=0.0).to(tl.float32)
    s, t = tl.div_rn(s, temperature), tl.div_rn(t, temperature)
    ds = tl.exp(s - s_top - s_log) - tl.exp(t - t_top - t_log)
    ds *= tl.load(slope_ptr + row) * temperature
    tl.store(ds_ptr + row * width + column, ds.to(ds_ptr.dtype.element_ty), mask=column < width)


def _launch(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    losses, parts = _empty(student, teacher, temperature)
    if losses.numel():
        s, t = as_rows(student), as_rows(teacher)
        rows, width = s.shape
        shape = tile(width, widest=WIDEST, live=4)
        _forward[cdiv(rows, shape.rows),](
            s, t, losses, parts, s.stride(0), t.stride(0), rows, width, temperature, temperature**2,
            ROWS=shape.rows, BLOCK=shape.block, num_warps=shape.warps,
        )  # fmt: skip
    return losses, parts


def _plain(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    parts = []
    for logits in (student, teacher):
        soft = logits.reshape(-1, logits.shape[-1]).float() / temperature
        parts += [soft.amax(-1), torch.logsumexp(soft - soft.amax(-1, keepdim=True), -1)]
    return reference(student, teacher, temperature, "none").reshape(-1), torch.stack(parts)


def _empty(student: torch.Tensor, *_: Any) -> tuple[torch.Tensor, torch.Tensor]:
    rows = student.shape[:-1].numel()
    return student.new_empty(rows, dtype=torch.float32), student.new_empty(4, rows, dtype=torch.float32)


def _launch_backward(
    slopes: torch.Tensor, student: torch.Tensor, teacher: torch.Tensor, parts: torch.Tensor, temperature: float
) -> torch.Tensor:
    ds = _empty_backward(slopes, student)
    if ds.numel():
        s, t = as_rows(student), as_rows(teacher)
        rows, width = s.shape
        blocks = cdiv(width, POINTS)
        _backward[rows * blocks,](
            slopes.contiguous(), s, t, parts, ds, s.stride(0), t.stride(0), rows, width, blocks,
            temperature, BLOCK=POINTS, num_warps=WARPS_OF_POINTS,
        )  # fmt: skip
    return ds


def _plain_backward(
    slopes: torch.Tensor, student: torch.Tensor, teacher: torch.Tensor, parts: torch.Tensor, temperature: float
) -> torch.Tensor:
    del parts
    q, p = (torch.softmax(logits.float() / temperature, -1) for logits in (student, teacher))
    return ((q - p) * slopes.reshape(*q.shape[:-1], 1) * temperature).to(student.dtype).contiguous()


def _empty_backward(_: torch.Tensor, student: torch.Tensor, *__: Any) -> torch.Tensor:
    return torch.empty(student.shape, dtype=student.dtype, device=student.device)


_losses = register(
    "distillation_kl(Tensor student, Tensor teacher, float temperature) -> (Tensor, Tensor)", _launch, _plain, _empty
)
_slopes = register(
    "distillation_kl_backward(Tensor slopes, Tensor student, Tensor teacher, Tensor parts, float temperature)"
    " -> Tensor",
    _launch_backward, _plain_backward, _empty_backward,
)  # fmt: skip


class _DistillationKL(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> Any:
        return _losses(student, teacher, temperature)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        student, teacher, ctx.temperature = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(student, teacher, output[1])

    @staticmethod
    def backward(ctx: Any, slopes: torch.Tensor, _: Any) -> Any:
        student, teacher, parts = ctx.saved_tensors
        if torch.is_grad_enabled():
            arguments = (student, teacher, ctx.temperature, "none")
            return *gradients(reference, arguments, (slopes.reshape(student.shape[:-1]),)), None
        return _slopes(slopes, student, teacher, parts, ctx.temperature), None, None


def distillation_kl(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0, reduction: str = "mean"
) -> torch.Tensor:
    """Take the divergence of a student's distribution from its teacher's, times the square of the temperature.

    Args:
        student: Logits ``[..., classes]``, of any strides.
        teacher: The same shape and dtype; others, and one whose gradient is wanted, go the way of the reference.
        temperature: Divides both logits.
        reduction: ``mean`` of the rows (PyTorch's ``batchmean`` of two dimensions), ``sum``, or ``none``.

    Returns:
        The loss in float32, one number, or ``[...]`` of them; differentiable in the student, twice too.

    Raises:
        ValueError: There is no such reduction, or the temperature is not positive.
    """
    if reduction not in REDUCTIONS:
        message = f"reduction is {reduction!r}, not one of {', '.join(REDUCTIONS)}"
        raise ValueError(message)
    if not temperature > 0:
        message = f"temperature is {temperature}, and has to be positive"
        raise ValueError(message)
    fits = student.dim() > 0 and student.shape[-1] > 0 and student.shape == teacher.shape
    if not fits or student.dtype != teacher.dtype or not fixed(teacher) or not usable(student, teacher):
        return reference(student, teacher, temperature, reduction)
    losses = _DistillationKL.apply(student, teacher, temperature)[0]
    return _reduced(losses.reshape(student.shape[:-1]), reduction)


def _make(maker: Maker, shape: tuple[int, ...], temperature: float = 2.0, reduction: str = "mean") -> tuple[Any, ...]:
    return maker.normal(*shape, scale=3.0), maker.normal(*shape, scale=3.0), temperature, reduction


def _traffic(student: torch.Tensor, *_: Any) -> Traffic:
    return Traffic(2 * student.nbytes, 3 * student.nbytes)


def _compilations(dtype: str) -> Iterator[Compilation]:
    t = pointer(dtype)
    types = {"s_ptr": t, "t_ptr": t, "parts_ptr": "*fp32", "s_stride": "i32", "t_stride": "i32"}
    types |= {"rows": "i32", "width": "i32", "temperature": "fp32"}
    for width in (128, 4_096, 131_072):
        shape = tile(width, widest=WIDEST, live=4)
        constants = {"ROWS": shape.rows, "BLOCK": shape.block}
        more = {"loss_ptr": "*fp32", "factor": "fp32"}
        yield Compilation(f"forward {width}", _forward, types | more, constants, shape.warps)
    more = {"slope_ptr": "*fp32", "ds_ptr": t, "blocks": "i32"}
    yield Compilation("backward", _backward, types | more, {"BLOCK": POINTS}, WARPS_OF_POINTS)


SPEC = Spec(
    name="distillation_kl",
    title="distillation loss with a temperature",
    source="arXiv:1503.02531",
    function=distillation_kl,
    reference=reference,
    make=_make,
    shapes=((1, 1), (3, 7), (2, 3, 5, 64), (5, 257), (0, 16), (2, 0, 8), (2, 4_111)),
    variants=({"temperature": 2.0}, {"temperature": 0.7, "reduction": "none"}, {"reduction": "sum"}),
    grid=tuple((rows, width) for width in (1_024, 32_000, 128_256) for rows in (512, (1 << 26) // width)),
    traffic=_traffic,
    compilations=_compilations,
    strided_shape=(2, 2, 48),
    operators=("perfkit::distillation_kl", "perfkit::distillation_kl_backward"),
    constant=(1,),
)
