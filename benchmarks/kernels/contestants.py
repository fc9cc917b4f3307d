"""Who takes part for a kernel: eager PyTorch, native functions, `torch.compile`, ours, and Liger-Kernel's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from perfkit_kernels import Spec

    Function = Callable[..., Any]

EAGER: Final = "eager"
COMPILE: Final = "torch.compile"
OURS: Final = "perfkit"
LIGER: Final = "Liger-Kernel"


def contestants(spec: Spec, device: str, backend: str) -> tuple[dict[str, Function], dict[str, str]]:
    """Return the functions that compute what a kernel does, and why others take no part.

    Args:
        spec: The kernel.
        device: Type of the device.
        backend: Of `torch.compile`: ``inductor``, or another that compiles nothing, for a dry run.
    """
    import torch
    import torch._functorch.config

    from perfkit_kernels.dialect import AVAILABLE, INTERPRETING

    # A graph is walked backwards many times here, so nothing that it holds may be given away.
    torch._functorch.config.donated_buffer = False  # noqa: SLF001
    torch._dynamo.reset()  # noqa: SLF001  each shape is compiled for itself
    chosen: dict[str, Function] = {EAGER: spec.reference, **spec.rivals}
    skipped: dict[str, str] = {}
    chosen[COMPILE] = torch.compile(spec.reference, dynamic=False, fullgraph=True, backend=backend)
    if INTERPRETING or (device == "cuda" and AVAILABLE):
        chosen[OURS] = spec.function
    else:
        skipped[OURS] = "runs on GPUs only" if device != "cuda" else "Triton is not installed"
    adapt = OF_LIGER.get(spec.name)
    if device != "cuda":
        skipped[LIGER] = "runs on GPUs only"
    elif adapt is None:
        skipped[LIGER] = "has no such kernel"
    else:
        try:
            from liger_kernel.transformers import functional
        except ImportError as error:
            skipped[LIGER] = f"not installed ({error})"
        else:
            chosen[LIGER] = adapt(functional)
    return chosen, skipped


def _rms_norm(liger: Any) -> Function:
    def function(x: Any, weight: Any, eps: float, casting: str) -> Any:
        return liger.liger_rms_norm(x, weight, eps, *_casting(casting), in_place=False)

    return function


def _add_rms_norm(liger: Any) -> Function:
    def function(x: Any, residual: Any, weight: Any, eps: float, casting: str) -> Any:
        return liger.liger_fused_add_rms_norm(x, residual, weight, eps, *_casting(casting), in_place=False)

    return function


def _casting(casting: str) -> tuple[float, str]:
    return (1.0, "gemma") if casting == "gemma" else (0.0, "llama" if casting == "llama" else "none")


def _gated_activation(liger: Any) -> Function:
    def function(a: Any, b: Any, activation: str) -> Any:
        return liger.liger_swiglu(a, b) if activation == "silu" else liger.liger_geglu(a, b)

    return function


def _layer_norm(liger: Any) -> Function:
    function: Function = liger.liger_layer_norm
    return function


def _cross_entropy(liger: Any) -> Function:
    def function(logits: Any, target: Any, ignored: int, smoothing: float, z_loss: float, reduction: str) -> Any:
        options = {"label_smoothing": smoothing, "lse_square_scale": z_loss, "reduction": reduction}
        return liger.liger_cross_entropy(logits, target, ignore_index=ignored, **options)

    return function


def _rope(liger: Any) -> Function:
    return lambda q, k, cos, sin, _: liger.liger_rope(q, k, cos[None], sin[None])


OF_LIGER: Final[Mapping[str, Callable[[Any], Function]]] = {
    "add_rms_norm": _add_rms_norm,
    "cross_entropy": _cross_entropy,
    "gated_activation": _gated_activation,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "rope": _rope,
}
"""By name of the kernel: makes of Liger-Kernel's functions one with the arguments of ours."""
