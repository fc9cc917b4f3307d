"""Primitive operators as expressions of Triton, of values held in float32."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch

from perfkit_kernels.generate.refusal import RefusedError

if TYPE_CHECKING:
    from torch import fx

__all__ = ["REPEATED", "expression", "literal", "operator_name", "require"]

prims: Final = torch.ops.prims

BINARY: Final = {
    "add": "+", "sub": "-", "mul": "*", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
    "bitwise_and": "&", "bitwise_or": "|", "bitwise_xor": "^",
}  # fmt: skip
CALLS: Final = {
    "abs": "tl.abs({})", "ceil": "tl.ceil({})", "cos": "tl.cos({})", "erf": "tl.erf({})", "exp": "tl.exp({})",
    "exp2": "tl.exp2({})", "expm1": "expm1({})", "floor": "tl.floor({})", "log": "tl.log({})",
    "log1p": "log1p({})", "log2": "tl.log2({})", "neg": "(-{})", "reciprocal": "tl.div_rn(1.0, {})",
    "sign": "tl.where({0} > 0, 1.0, tl.where({0} < 0, -1.0, 0.0))",
    "rsqrt": "tl.div_rn(1.0, tl.sqrt_rn({}))", "sin": "tl.sin({})", "sqrt": "tl.sqrt_rn({})", "tanh": "tanh({})",
    "bitwise_not": "(~{})", "where": "tl.where({}, {}, {})", "div": "tl.div_rn({}, {})",
    "maximum": "tl.maximum({}, {}, propagate_nan=tl.PropagateNan.ALL)",
    "minimum": "tl.minimum({}, {}, propagate_nan=tl.PropagateNan.ALL)",
}  # fmt: skip
OF_FLOATS: Final = frozenset(CALLS) - {"abs", "neg", "bitwise_not", "where", "maximum", "minimum"}
REPEATED: Final = frozenset({"pow", "sign"})
"""What is written more than once takes a name, not an expression."""
OF_BOOLEANS: Final = frozenset({"bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not"})
POWERS: Final = {0.5: "tl.sqrt_rn({0})", -0.5: "tl.div_rn(1.0, tl.sqrt_rn({0}))"}
MOST_FACTORS: Final = 8
HALVES: Final = {torch.float16: "tl.float16", torch.bfloat16: "tl.bfloat16"}


def literal(value: Any) -> str:
    """Write a number."""
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def operator_name(node: fx.Node) -> str:
    """Return what a primitive operator is called."""
    return str(node.target.__name__).split(".")[0]


def require(node: fx.Node) -> None:
    """Refuse an operator that there is nothing for in Triton."""
    known = {*BINARY, *CALLS, "convert_element_type", "pow"}
    if getattr(node.target, "namespace", "") != "prims" or operator_name(node) not in known:
        raise RefusedError("operator", f"has no kernel for {node.target}")


def expression(node: fx.Node, texts: list[str], dtypes: list[torch.dtype]) -> str:
    """Write an operator.

    Args:
        node: The operator.
        texts: What it takes, written: tensors and numbers.
        dtypes: Of its tensors.

    Raises:
        RefusedError: There is nothing for it in Triton.
    """
    name = operator_name(node)
    floats = all(dtype.is_floating_point for dtype in dtypes)
    if name == "convert_element_type":
        return _converted(texts[0], dtypes[0], node.args[1])
    if name == "pow" and floats and isinstance(node.args[1], (int, float)):
        return _power(texts[0], float(node.args[1]))
    unfit = (name in OF_FLOATS and not floats) or (name in OF_BOOLEANS and set(dtypes) != {torch.bool})
    if unfit or name == "pow":
        raise RefusedError("operator", f"has no kernel for {node.target} of {_names(dtypes)}")
    return f"({texts[0]} {BINARY[name]} {texts[1]})" if name in BINARY else CALLS[name].format(*texts)


def _names(dtypes: list[torch.dtype]) -> str:
    return ", ".join(dict.fromkeys(str(dtype).removeprefix("torch.") for dtype in dtypes))


def _converted(text: str, given: torch.dtype, wanted: Any) -> str:
    """Write a conversion: what is of half precision is held in float32, rounded."""
    if given == wanted or (given in HALVES and wanted == torch.float32):
        return text
    if wanted in HALVES:
        text = text if given.is_floating_point else f"{text}.to(tl.float32)"
        return f"{text}.to({HALVES[wanted]}).to(tl.float32)"
    if wanted == torch.bool:
        return f"({text} != 0)"
    if wanted in {torch.float32, torch.int32, torch.int64}:
        return f"{text}.to(tl.{str(wanted).removeprefix('torch.')})"
    raise RefusedError("dtype", f"converts to {wanted}")


def _power(text: str, exponent: float) -> str:
    """Write a power whose exponent is known."""
    if exponent in POWERS:
        return POWERS[exponent].format(text)
    if not exponent or not math.isfinite(exponent):
        raise RefusedError("operator", f"has no kernel for powers of {exponent:g}")
    if not exponent.is_integer():
        return f"power({text}, {exponent!r})"  # of what is negative, NaN
    if abs(exponent) > MOST_FACTORS:
        size = f"power(tl.abs({text}), {exponent!r})"
        return f"tl.where({text} < 0, -{size}, {size})" if exponent % 2 else size
    product = "(" + " * ".join([text] * int(abs(exponent))) + ")"
    return product if exponent > 0 else f"tl.div_rn(1.0, {product})"
