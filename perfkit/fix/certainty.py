"""Functions that drop elements at random, without the randomness: so that what else they do can be compared."""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["certain", "chance"]

_certain: ContextVar[bool] = ContextVar("certain", default=False)
PLACE_IN_ATTENTION: Final = 4


class _Keeping(TorchFunctionMode):
    """Makes dropout do nothing."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        name, given = getattr(function, "__name__", ""), dict(kwargs or {})
        if name == "dropout":
            return args[0] if args else given["input"]
        if name == "scaled_dot_product_attention" and len(args) <= PLACE_IN_ATTENTION:
            given["dropout_p"] = 0.0
        return function(*args, **given)


@contextlib.contextmanager
def certain() -> Iterator[None]:
    """Let nothing be dropped."""
    token = _certain.set(True)
    try:
        with _Keeping():
            yield
    finally:
        _certain.reset(token)


def chance(p: float) -> float:
    """Return a probability to drop elements: for functions of which PyTorch knows nothing."""
    return 0.0 if _certain.get() else p
