"""A canary: some calls of a replacement are computed by what it replaced as well; where they come apart, it goes.

Only where it is asked for: it costs those calls three times over, and a look at values waits for the device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from perfkit.fix.candidates import wide

if TYPE_CHECKING:
    from collections.abc import Callable

    from perfkit.fix.candidates import Agree, Function

__all__ = ["Drift", "Watched"]


class Drift(NamedTuple):
    """A replacement that came to compute something else.

    Attributes:
        kind: What it computes.
        where: File and line of the site.
        reason: How far it is off.
        calls: The call in which it was seen.
    """

    kind: str
    where: str
    reason: str
    calls: int


class Watched:
    """A replacement beside which, in one of so many calls, runs what it replaced.

    Outputs are compared, by the policy it was accepted by; gradients are not. After a drift it is what it replaced.
    """

    def __init__(
        self,
        function: Function,
        now: Function,
        reference: Function,
        agree: Agree,
        every: int,
        tell: Callable[[str, int], None],
    ) -> None:
        self.function, self.now, self.reference = function, now, reference
        self.agree, self.every, self.tell = agree, every, tell
        self.calls = 0
        self.drifted = False

    def __call__(self, *inputs: torch.Tensor) -> Any:
        """Compute, and now and then compare."""
        if self.drifted:
            return self.now(*inputs)
        self.calls += 1
        if self.calls % self.every:
            return self.function(*inputs)
        # Before, and of copies: neither may see what the other wrote.
        copies = [value.detach().clone(memory_format=torch.preserve_format) for value in inputs]
        outputs = self.function(*inputs)
        reason = self.difference(outputs, copies)
        if not reason:
            return outputs
        self.drifted = True
        self.tell(reason, self.calls)
        return self.now(*inputs)

    def difference(self, outputs: tuple[torch.Tensor, ...], inputs: list[torch.Tensor]) -> str:
        """Say how outputs differ from what they should be; nothing if they are right."""
        with torch.no_grad():
            theirs, exact = self.now(*inputs), self.reference(*map(wide, inputs))
        for one, other, truth in zip(outputs, theirs, exact, strict=True):
            answer = self.agree(one.detach(), other, truth)
            if not answer.right:
                return str(answer.reason)
        return ""
