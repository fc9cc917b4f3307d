"""A model with faster implementations in it, and the way back."""

from __future__ import annotations

import contextlib
import warnings
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from perfkit.fix.patched import Patched, rewritten

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

    from perfkit.fix.candidates import Agree
    from perfkit.fix.optimizers import FusedStep
    from perfkit.fix.sites import Place
    from perfkit.fix.watching import Drift
    from perfkit.fix.whole import Whole
    from perfkit.model.patch import Patch

    Draw = Callable[[Patch, Literal["text", "markdown", "json"]], str]
    Replacement = tuple[Place, Callable[..., Any]]

__all__ = ["Changes", "Optimized", "Unseen", "build"]


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
        patched.setdefault(id(owner), Patched(owner)).variants[key] = rewritten(place.frame, place.graph, pairs)
    return list(patched.values())


class Changes(NamedTuple):
    """All that is changed.

    Attributes:
        replacements: At sites of the model.
        wholes: What stands for the whole model.
        optimizer: The fused step of its optimizer; None where that is left.
    """

    replacements: tuple[Replacement, ...] = ()
    wholes: tuple[Whole, ...] = ()
    optimizer: FusedStep | None = None


class Unseen(NamedTuple):
    """Calls of a changed module that nothing was measured for: they ran as before.

    Attributes:
        module: Its name in the model.
        shapes: Shape and dtype of each tensor it was called with.
        calls: How many such calls there were.
    """

    module: str
    shapes: tuple[str, ...]
    calls: int


class Optimized:
    """A model that `perfkit.optimize` has looked at.

    The model itself is changed: its modules, parameters, hooks and `state_dict` are what they were, and only the
    ``forward`` of some modules is another, for the calls it was measured in. Copies of the model, and what is saved of
    it, run as they did before.

    Attributes:
        model: The model.
        patch: What was found and done, as a record.
        drifts: Replacements that `watch` saw to compute something else, and took out.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        patch: Patch,
        changes: Changes,
        draw: Draw,
        again: Callable[[Any], Optimized],
        agree: Agree,
    ) -> None:  # fmt: skip
        self.model, self.patch = model, patch
        self.drifts: list[Drift] = []
        self._changes, self._draw, self._again, self._agree = changes, draw, again, agree
        self._patched = self._built(changes.replacements)

    def report(self, form: Literal["text", "markdown", "json"] = "text") -> str:
        """Say of each place what was tried, what was done, and why; the JSON is ``perfkit.optimization/1``."""
        return self._draw(self.patch, form)

    @property
    def applied(self) -> bool:
        """Whether anything of it is in the model, or in its optimizer, now."""
        fused = self._changes.optimizer
        return any(vars(one.owner).get("forward") is one for one in self._patched) or bool(fused and fused.applied)

    def apply(self) -> None:
        """Put the replacements in (again)."""
        put_in(self._patched)
        if self._changes.optimizer is not None:
            self._changes.optimizer.put_in()

    def revert(self) -> None:
        """Take all of it out: the model is exactly what it was."""
        take_out(self._patched)
        if self._changes.optimizer is not None:
            self._changes.optimizer.take_out()

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

    @property
    def unseen(self) -> tuple[Unseen, ...]:
        """What changed modules were called with that nothing was measured for, most calls first: see `tune`."""
        names = {id(module): name for name, module in self.model.named_modules()}
        found = [
            Unseen(names.get(id(one.owner), ""), tuple(map(_form, _forms(key))), calls)
            for one in self._patched
            for key, calls in one.unseen.items()
        ]
        return tuple(sorted(found, key=lambda entry: -entry.calls))

    def tune(self, example_inputs: Any) -> None:
        """Measure calls with other inputs, too, and put in what is proved for them.

        To be called beside the work, between two steps: nothing is measured while the model runs. Other shapes than
        those that were measured run as before until then.

        Args:
            example_inputs: What the model is called with, as for `perfkit.optimize`.
        """
        was = self.applied
        self.revert()
        try:
            more = self._again(example_inputs)
        finally:
            if was:
                self.apply()
        more.revert()
        self.revert()
        self.patch = self.patch._replace(sites=self.patch.sites + more.patch.sites)
        self._changes = self._changes._replace(
            replacements=self._changes.replacements + more._changes.replacements,  # noqa: SLF001
            wholes=self._changes.wholes + more._changes.wholes,  # noqa: SLF001
        )
        self._patched = self._built(self._changes.replacements)
        self.apply()

    def watch(self, share: float) -> None:
        """Compute a share of the calls of each replacement by what it replaced as well, and take out what differs.

        It is held to the policy that it was accepted by: its error against float64 at most twice that of what it
        replaced. What differs is replaced by what was there before, warned of, and kept in ``drifts``; the report says
        so. Outputs are compared, not gradients, and nothing that stands for the whole model.

        Args:
            share: Part of the calls, such as 0.001; each costs three or more. 0 ends it.

        Raises:
            ValueError: It is no share.
        """
        if not 0 <= share <= 1:
            message = f"a share of {share} is none: it is between 0 and 1"
            raise ValueError(message)
        was = self.applied
        self.revert()
        kept = [(place, self._watched(place, function, share)) for place, function in self._changes.replacements]
        self._patched = self._built(kept)
        if was:
            self.apply()

    def _watched(self, place: Place, function: Callable[..., Any], share: float) -> Callable[..., Any]:
        from perfkit.fix.candidates import present
        from perfkit.fix.watching import Drift, Watched

        if not share or place.match.region.chance():  # what is dropped at random is never the same
            return function
        match, where = place.match, place.match.region.output.meta.get("where", "")
        now = present(match, place.frame.owner)

        def tell(reason: str, calls: int) -> None:
            self.drifts.append(Drift(match.form.kind, where, reason, calls))
            said = f"drifted in call {calls}, and was taken out: {reason}"
            warnings.warn(f"{match.form.title} at {where} {said}", RuntimeWarning, stacklevel=4)
            sites = [
                site._replace(chosen="", reason=said) if (site.kind, site.where) == (match.form.kind, where) else site
                for site in self.patch.sites
            ]
            self.patch = self.patch._replace(sites=tuple(sites))

        return Watched(function, now, match.form.reference, self._agree, max(round(1 / share), 1), tell)

    def _built(self, replacements: Sequence[Replacement]) -> list[Patched]:
        from perfkit.fix.whole import installed

        patched = build(replacements)
        for whole in self._changes.wholes:
            patched = installed(patched, self.model, whole)
        return patched

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        return self.model(*args, **kwargs)


def _forms(key: Any) -> Any:
    """Return the forms of the tensors in a key that `signature` made."""
    return key[1]


def _form(form: Any) -> str:
    return f"{str(form[2]).removeprefix('torch.')}{list(form[0])}"


def put_in(patched: Sequence[Patched]) -> None:
    """Make each the forward of its module."""
    for one in patched:
        vars(one.owner)["forward"] = one


def take_out(patched: Sequence[Patched]) -> None:
    """Give each module its own forward again, where it has not been given another since."""
    for one in patched:
        if vars(one.owner).get("forward") is one:
            del vars(one.owner)["forward"]
