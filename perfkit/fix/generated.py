"""A kernel generated for a site's own operators: written when it is first called, for what it is called with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from perfkit_kernels.generate import Refusal, generate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Generating"]


class Generating:
    """Computes what a function does by a kernel generated for it, or by the function itself where there is none."""

    def __init__(self, function: Callable[..., tuple[torch.Tensor, ...]]) -> None:
        self.function = function
        self._made: Any = None

    def obstacle(self, inputs: Sequence[torch.Tensor]) -> str:
        """Say why there is no kernel that could be worth a try; nothing if there is."""
        made = self._make(inputs)
        if isinstance(made, Refusal):
            return f"is not written: {made.reason}"
        if made.traffic.forward >= made.eager_bytes:
            return f"would move as many bytes as these operators do: {made.eager_bytes:,}"
        with torch.no_grad():
            contiguous = all(output.is_contiguous() for output in self.function(*inputs))
        return "" if contiguous else "would lay its results out otherwise than these operators do"

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Compute."""
        made = self._make(inputs)
        return self.function(*inputs) if isinstance(made, Refusal) else made(*inputs)

    def _make(self, inputs: Sequence[torch.Tensor]) -> Any:
        if self._made is None:
            self._made = generate(self.function, inputs)
        return self._made
