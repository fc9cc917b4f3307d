"""The Patch: what `perfkit.optimize` found in a model, what it tried there, what it applied, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from perfkit.model.measurement import Measurement

__all__ = ["Candidate", "Passed", "Patch", "Site"]

Mode = Literal["train", "infer"]


class Candidate(NamedTuple):
    """One implementation tried at a site.

    Attributes:
        name: What it is: ``native``, ``compile``, ``kernel``, ``generated``, ``graph``, ``fused``.
        title: What is called, such as ``torch.nn.functional.rms_norm``.
        accepted: Whether it is applied.
        reason: Why, or why not.
        alone: Its measurement at the site alone: forward, or forward and backward where the model trains.
        forward: That of the forward alone, where the model trains.
        in_model: That of the whole model with it and without.
        error: Its largest error against float64, as a part of the largest exact value; None if not computed.
        replaced_error: That of what it replaces.
    """

    name: str
    title: str
    accepted: bool
    reason: str
    alone: Measurement | None = None
    forward: Measurement | None = None
    in_model: Measurement | None = None
    error: float | None = None
    replaced_error: float | None = None


class Site(NamedTuple):
    """Computations of one kind, shape and way of writing, at one or more places of a model.

    The model as a whole is a site, too, of kind ``model``, and the step of its optimizer, ``optimizer``.

    Attributes:
        kind: What they compute, such as ``rms_norm``.
        title: The same in a few words, with what was read off: epsilon, casting, scale.
        where: File and line of the last of the operators; empty if not known.
        modules: Paths of the modules they are in.
        calls: How many there are in one call of the model.
        operators: How many operators one is made of; 0 where they are not counted.
        shapes: Shape and dtype of each tensor that goes in.
        predicted_ns: What one call would save: bytes no longer moved, operators no longer called; 0 for unknown.
        chosen: Name of the candidate applied; empty where it was left as it is.
        reason: Why it was left; empty where it was not.
        candidates: What was tried.
        remembered: Whether the verdict is one of an earlier run.
    """

    kind: str
    title: str
    where: str
    modules: tuple[str, ...]
    calls: int
    operators: int
    shapes: tuple[str, ...]
    predicted_ns: int
    chosen: str
    reason: str
    candidates: tuple[Candidate, ...]
    remembered: bool = False


class Passed(NamedTuple):
    """Modules that were not looked into, and why."""

    reason: str
    modules: tuple[str, ...]


class Patch(NamedTuple):
    """What was found and done.

    Attributes:
        mode: ``train`` or ``infer``.
        device: Name of the processor or GPU.
        torch: Version of PyTorch.
        triton: Version of Triton; empty where it is not installed.
        sites: What was found, the largest predicted saving first.
        passed: What was not looked into.
        model: The whole model with all that was applied, against the model as it was; None if nothing was.
        bytes_per_s: Copy bandwidth of the device, measured in this run; predictions are made with it.
    """

    mode: Mode
    device: str
    torch: str
    triton: str
    sites: tuple[Site, ...]
    passed: tuple[Passed, ...]
    model: Measurement | None
    bytes_per_s: float
