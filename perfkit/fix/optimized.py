"""A model with faster implementations in it, and the way back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

from perfkit.fix.patched import Patched, rewritten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from perfkit.fix.sites import Place
    from perfkit.model.patch import Patch

    Draw = Callable[[Patch, Literal["text", "markdown", "json"]], str]
    Replacement = tuple[Place, Callable[..., Any]]

__all__ = ["Optimized", "build"]


def build(replacements: Sequence[Replacement]) -> list[Patched]:
    """Return what to put into each module, for all that is to be replaced in it."""
    frames: dict[int, list[Replacement]] = {}
    for replacement in replacements:
        frames.setdefault(id(replacement[0].graph), []).append(replacement)
    patched: dict[int, Patched] = {}
    for together in frames.values():
        place = together[0][0]
        owner, key = place.frame.owner, place.frame.key
        pairs = [(place.match, function) for place, function in together]
        patched.setdefault(id(owner), Patched(owner)).variants[key] = rewritten(place.graph, owner, pairs)
    return list(patched.values())


class Optimized:
    """A model that `perfkit.optimize` has looked at.

    The model itself is changed: its modules, parameters, hooks and `state_dict` are what they were, and only the
    ``forward`` of some modules is another, for the calls it was measured in. Copies of the model, and what is saved of
    it, run as they did before.

    Attributes:
        model: The model.
        patch: What was found and done, as a record.
    """

    def __init__(self, model: torch.nn.Module, patch: Patch, patched: Sequence[Patched], draw: Draw) -> None:
        self.model, self.patch = model, patch
        self._patched = list(patched)
        self._draw = draw

    def report(self, form: Literal["text", "markdown", "json"] = "text") -> str:
        """Say of each place what was tried, what was done, and why; the JSON is ``perfkit.optimization/1``."""
        return self._draw(self.patch, form)

    @property
    def applied(self) -> bool:
        """Whether anything of it is in the model now."""
        return any(vars(one.owner).get("forward") is one for one in self._patched)

    def apply(self) -> None:
        """Put the replacements in (again)."""
        put_in(self._patched)

    def revert(self) -> None:
        """Take all of it out: the model is exactly what it was."""
        take_out(self._patched)

    @contextlib.contextmanager
    def reverted(self) -> Iterator[torch.nn.Module]:
        """Give the model as it was, for the length of a `with`."""
        was = self.applied
        self.revert()
        try:
            yield self.model
        finally:
            if was:
                self.apply()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self.model(*args, **kwargs)


def put_in(patched: Sequence[Patched]) -> None:
    """Make each the forward of its module."""
    for one in patched:
        vars(one.owner)["forward"] = one


def take_out(patched: Sequence[Patched]) -> None:
    """Give each module its own forward again, where it has not been given another since."""
    for one in patched:
        if vars(one.owner).get("forward") is one:
            del vars(one.owner)["forward"]
