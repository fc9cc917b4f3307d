"""One cell of the grid: a kernel, a dtype, a shape; all contestants forward and backward."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from benchmarks.kernels.contestants import EAGER, OURS, contestants
from benchmarks.kernels.timing import in_turns, peak_bytes, spread
from perfkit_kernels.spec import Maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from perfkit_kernels import Spec

FURTHEST: Final = {"float32": 1e-3, "float16": 2e-2, "bfloat16": 4e-2}
"""How far from eager's a result may be, by its norm, to be of the same function; the tests are much stricter."""


class Cell(NamedTuple):
    """What is measured at a time."""

    spec: Spec
    dtype: str
    shape: tuple[int, ...]

    @property
    def key(self) -> tuple[str, str, tuple[int, ...]]:
        """What tells it from others."""
        return self.spec.name, self.dtype, self.shape


class Run(NamedTuple):
    """How cells are measured."""

    device: Any
    rounds: int
    backend: str = "inductor"


class Entrant(NamedTuple):
    """The calls of a contestant; no backward where nothing is differentiable."""

    forward: Callable[[], Any]
    backward: Callable[[], Any] | None


def grid(specs: Iterable[Spec], dtypes: Sequence[str], *, small: bool) -> list[Cell]:
    """Return the cells, the most telling ones first: one dtype after the other, large shapes before small ones."""
    chosen = list(specs)
    if small:
        return [Cell(spec, dtype, spec.strided_shape) for dtype in dtypes for spec in chosen]
    return [
        Cell(spec, dtype, shape)
        for dtype in dtypes
        for spec in chosen
        for shape in sorted(spec.grid, key=math.prod, reverse=True)
    ]


def measure(cell: Cell, run: Run) -> dict[str, Any]:
    """Measure a cell; contestants that fail, or compute something else, are left out and say why."""
    spec, kind = cell.spec, run.device.type
    arguments = spec.make(Maker(getattr(torch, cell.dtype), run.device), cell.shape, **spec.variants[0])
    functions, skipped = contestants(spec, kind, run.backend)
    entrants: dict[str, Entrant] = {}
    expected: list[torch.Tensor] = []
    for name, function in functions.items():
        try:
            entrant, results = _enter(spec, function, arguments)
        except Exception as error:  # noqa: BLE001  whatever is wrong with a contestant, the others go on
            skipped[name] = f"failed: {type(error).__name__}: {str(error).strip().splitlines()[:1]}"[:200]
            continue
        if name == EAGER:
            expected = results
        elif (apart := _furthest(results, expected)) > FURTHEST[cell.dtype]:
            skipped[name] = f"computes something else: {apart:.1e} from eager"
            continue
        entrants[name] = entrant
    del expected
    moved = spec.traffic(*arguments)
    result: dict[str, Any] = {"kernel": spec.name, "dtype": cell.dtype, "shape": list(cell.shape)}
    result["variant"] = dict(spec.variants[0])
    for direction, size in (("forward", moved.forward), ("backward", moved.backward)):
        calls = {name: call for name, each in entrants.items() if (call := getattr(each, direction)) is not None}
        result[direction] = {"bytes": size, "contestants": _compete(calls, size, run)}
    return result | {"skipped": skipped}


def warm(cell: Cell, run: Run) -> None:
    """Compile what a cell needs, and measure nothing: what was compiled is kept on disk."""
    measure(cell, run._replace(rounds=0))


def _enter(spec: Spec, function: Callable[..., Any], arguments: tuple[Any, ...]) -> tuple[Entrant, list[Any]]:
    """Call a contestant once, on tensors of its own: some write into what they are given."""
    given = [value.clone() if isinstance(value, torch.Tensor) else value for value in arguments]
    wanted = []
    for index, value in enumerate(given):
        if isinstance(value, torch.Tensor) and value.is_floating_point() and index not in spec.constant:
            wanted.append(value.requires_grad_())
    outputs = function(*given)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    results = [output.detach().clone() for output in outputs]
    sloped = [output for output in outputs if output.requires_grad]
    if not sloped:
        return Entrant(lambda: function(*given), None), results
    random = Maker(sloped[0].dtype, sloped[0].device, seed=1)
    slopes = [random.normal(*output.shape, dtype=output.dtype) for output in sloped]

    def backward() -> Any:
        return torch.autograd.grad(sloped, wanted, slopes, retain_graph=True, allow_unused=True)

    results += [gradient.clone() for gradient in backward() if gradient is not None]
    return Entrant(lambda: function(*given), backward), results


def _furthest(results: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> float:
    """Return how far results are from what is expected, as a part of its norm; infinite for another number of them."""
    if len(results) != len(expected):
        return math.inf
    apart = 0.0
    for one, other in zip(results, expected, strict=True):
        if one.shape != other.shape:
            return math.inf
        norm = float(other.float().norm())
        distance = float((one.float() - other.float()).norm())
        apart = max(apart, distance / norm if norm else distance)
        if math.isnan(apart):
            return math.inf
    return apart


def _compete(calls: Mapping[str, Callable[[], Any]], size: int, run: Run) -> dict[str, Any]:
    """Time calls in turns; ratios are of the same rounds."""
    if not run.rounds or not calls:
        return {}
    kind = run.device.type
    peaks = {name: peak_bytes(call, kind) for name, call in calls.items()}
    samples = in_turns(calls, kind, run.rounds)
    base = samples[EAGER]
    rivals = [name for name in calls if name != OURS]
    best = min(rivals, key=lambda name: sum(sorted(samples[name])[: run.rounds // 2 + 1]))
    found = {}
    for name, taken in samples.items():
        ns = spread(taken)
        found[name] = {
            "ns": ns,
            "gb_s": size / ns["median"],
            "over_eager": spread([eager / mine for eager, mine in zip(base, taken, strict=True)]),
            "over_best_rival": spread([rival / mine for rival, mine in zip(samples[best], taken, strict=True)]),
            "peak_bytes": peaks[name],
        }
    return found
