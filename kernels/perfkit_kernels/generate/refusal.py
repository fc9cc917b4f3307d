"""Why a region is not generated: said by whoever finds out, and handed to whoever asked."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Refusal", "RefusedError"]


class Refusal(NamedTuple):
    """Why there is no kernel for a region.

    Attributes:
        name: One of ``alias``, ``data-dependent``, ``device``, ``dtype``, ``mutation``, ``operator``, ``random``,
            ``reductions``, ``shape``, ``trace``.
        reason: The same for this region, in a few words.
    """

    name: str
    reason: str


class RefusedError(Exception):
    """Carries a refusal out of where it is found."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.refusal = Refusal(name, reason)
