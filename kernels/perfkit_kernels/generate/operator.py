"""A generated region as PyTorch operators, differentiable; it steps aside for arguments it was not generated for."""

from __future__ import annotations

import hashlib
import linecache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch

from perfkit_kernels.generate.axes import shape_of
from perfkit_kernels.generate.part import Part, alike
from perfkit_kernels.generate.plan import contiguous
from perfkit_kernels.generate.trace import output_of
from perfkit_kernels.operators import NAMESPACE, gradients, register, usable
from perfkit_kernels.spec import Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from perfkit_kernels.generate.trace import Traced
    from perfkit_kernels.spec import Compilation

__all__ = ["Generated"]


class Generated(torch.nn.Module):
    """A function of tensors, run by a generated kernel.

    Called with what it was generated for it runs the kernel; with other shapes, strides, dtypes or devices, where other
    gradients are wanted, or under another autocast, it calls the function itself.

    Attributes:
        source: The kernels, as a module of Python that can be kept.
        traffic: Bytes that its kernels move, forward and backward, each tensor read or written once.
        eager_bytes: Bytes that the function's operators move in eager PyTorch, forward.
        operators: Qualified names of the PyTorch operators that it registers.
    """

    def __init__(self, function: Callable[..., Any], inputs: Sequence[torch.Tensor], traced: Traced) -> None:
        super().__init__()
        self.function = function
        self._traced = traced
        self._forms = [(*_form(tensor), tensor.stride(), tensor.requires_grad) for tensor in inputs]
        self._autocast = _autocast(inputs[0].device.type)
        self.parts = _parts(inputs, traced)
        digest = hashlib.sha256("".join(f"{part.graph}{part.strides}" for part in self.parts).encode()).hexdigest()[:12]
        name = f"generated_{digest}"
        self.source = _module_text(inputs, self.parts)
        moved = [part.traffic() for part in self.parts]
        self.traffic = Traffic(moved[0], moved[1] if len(moved) > 1 else 0)
        self.eager_bytes = traced.eager_bytes
        if name not in _made:
            kernels = _run(name, self.source)
            operators = []
            for suffix, part in zip(("", "_backward"), self.parts, strict=False):
                part.kernel = kernels.get(part.name)
                operators.append(_registered(f"{name}{suffix}", part))
            _made[name] = Made(self.parts, function, traced, len(inputs), *operators)
        self.parts = _made[name].parts
        self.name = name
        self.operators = tuple(
            f"{NAMESPACE}::{name}{suffix}" for suffix, _ in zip(("", "_backward"), self.parts, strict=False)
        )

    def compilations(self) -> Iterator[Compilation]:
        """Yield what to compile ahead of time."""
        for part in self.parts:
            if part.kernel is not None:
                yield part.compilation()

    def fits(self, inputs: Sequence[torch.Tensor]) -> bool:
        """Whether these are arguments that it was generated for."""
        return (
            len(inputs) == len(self._forms)
            and all(
                (*_form(tensor),) == form[:3]
                and alike(tensor, form[3])
                and (form[4] or not (tensor.requires_grad and torch.is_grad_enabled()))
                for tensor, form in zip(inputs, self._forms, strict=True)
            )
            and _autocast(inputs[0].device.type) == self._autocast
            and usable(*(tensor for tensor in inputs if tensor.is_floating_point()))
        )

    def forward(self, *inputs: torch.Tensor) -> Any:
        """Return what the function returns."""
        if not self.fits(inputs):
            return self.function(*inputs)
        results = _Region.apply(self.name, *inputs)[: self._traced.outputs]
        return results[0] if self._traced.single else results


class Made(NamedTuple):
    """What was registered for a region, and the function that it was generated for."""

    parts: list[Part]
    function: Callable[..., Any]
    traced: Traced
    inputs: int
    forward: Callable[..., tuple[torch.Tensor, ...]]
    backward: Callable[..., tuple[torch.Tensor, ...]] | None = None

    def reference(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the outputs that have a gradient."""
        outputs = self.function(*inputs)
        outputs = (outputs,) if self.traced.single else outputs
        return tuple(outputs[index] for index in self.traced.sloped)


_made: Final[dict[str, Made]] = {}
"""By name: PyTorch keeps operators for as long as a process lives."""


class _Region(torch.autograd.Function):
    """Any region, by its name: `torch.compile` tells one from another by what it is given."""

    generate_vmap_rule = True

    @staticmethod
    def forward(name: str, *inputs: torch.Tensor) -> Any:
        return _made[name].forward(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.name, *tensors = inputs
        sloped = _made[ctx.name].traced.sloped
        ctx.mark_non_differentiable(*(value for index, value in enumerate(output) if index not in sloped))
        ctx.save_for_backward(*tensors, *output)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> Any:
        made, known = _made[ctx.name], ctx.saved_tensors
        chosen = [slopes[index] for index in made.traced.sloped]
        if torch.is_grad_enabled():
            return None, *gradients(made.reference, known[: made.inputs], tuple(chosen))
        found = made.backward(*chosen, *(known[index] for index in made.traced.kept)) if made.backward else ()
        sources, results = made.traced.gradients, [*chosen, *found]
        return None, *(results[sources[index]] if index in sources else None for index in range(made.inputs))


def _form(tensor: torch.Tensor) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.device.type


def _autocast(device: str) -> torch.dtype | None:
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _parts(inputs: Sequence[torch.Tensor], traced: Traced) -> list[Part]:
    """Lay out forward and backward."""
    taken = [f"x{number}" for number in range(len(inputs))]
    left = [f"y{number}" for number in range(traced.outputs)]
    left += [f"kept{number}" for number in range(len(output_of(traced.forward)) - traced.outputs)]
    forward = Part("forward", traced.forward, [tensor.stride() for tensor in inputs], taken, left)
    if traced.backward is None:
        return [forward]
    given = [node for node in traced.backward.nodes if node.op == "placeholder"]
    slopes = len(traced.sloped)
    strides = [contiguous(shape_of(node)) for node in given]
    names = [f"d{left[number]}" for number in traced.sloped]
    for place, number in enumerate(traced.kept, start=slopes):
        names.append([*taken, *left][number])
        if number < len(inputs):
            strides[place] = inputs[number].stride()
    owners = {number - slopes: f"dx{index}" for index, number in traced.gradients.items() if number >= slopes}
    return [forward, Part("backward", traced.backward, strides, names, [owners[place] for place in sorted(owners)])]


def _module_text(inputs: Sequence[torch.Tensor], parts: Sequence[Part]) -> str:
    forms = [
        f"x{number}: {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
        for number, tensor in enumerate(inputs)
    ]
    texts = [part.text() for part in parts if part.results]
    helpers = [
        name
        for name in ("expm1", "log1p", "power", "row_max", "row_min", "tanh")
        if any(f"{name}(" in text for text in texts)
    ]
    imports = [f"from perfkit_kernels.arithmetic import {', '.join(helpers)}"] if helpers else []
    head = [f'"""Generated for {", ".join(forms)}."""', "", *imports, "from perfkit_kernels.dialect import jit, tl"]
    return "\n".join([*head, "", "", "\n\n".join(texts)])


def _run(name: str, source: str) -> dict[str, Any]:
    """Run a text as a module, whose lines Triton and tracebacks find."""
    file = f"perfkit_{name}.py"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    space: dict[str, Any] = {"__name__": f"perfkit_kernels.{name}"}
    exec(compile(source, file, "exec"), space)
    return space


def _registered(name: str, part: Part) -> Callable[..., tuple[torch.Tensor, ...]]:
    """Register a part as an operator; what is returned always gives a tuple."""
    given = ", ".join(f"Tensor {given}" for given in part.inputs)
    forms = [(shape_of(node), node.meta["val"].dtype) for node in part.outputs]
    single = len(forms) == 1

    def shaped(run: Callable[..., list[torch.Tensor]]) -> Callable[..., Any]:
        def operator(*tensors: torch.Tensor) -> Any:
            results = run(*tensors)
            return results[0] if single else tuple(results)

        return operator

    def empty(*tensors: torch.Tensor) -> list[torch.Tensor]:
        return [tensors[0].new_empty(shape, dtype=dtype) for shape, dtype in forms]

    tensors = "Tensor" if single else f"({', '.join(['Tensor'] * len(forms))})"
    operator = register(f"{name}({given}) -> {tensors}", shaped(part.launch), shaped(part.plain), shaped(empty))
    return (lambda *tensors: (operator(*tensors),)) if single else operator
