"""A model's forward, as it runs: one graph for each call of each module, in the functions its author called.

The functions are seen by a `TorchFunctionMode` while the model runs on real inputs: whatever is written in Python
between them (loops, branches on shapes, any style) has run and is gone. A module that a module calls is one node of its
graph, so hooks of that module keep being called. What a graph cannot stand for is named, and the module left alone.
"""

from __future__ import annotations

import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx
from torch.utils import _pytree as pytree

from perfkit.fix.effects import Before
from perfkit.fix.signature import SIMPLE, UnfamiliarError, flatten, form, modes
from perfkit.fix.writes import overlap, storage_of, without_writing, written_into

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

__all__ = ["Frame", "has_hooks", "is_pick"]

READS_DATA: Final = frozenset(
    {
        "item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "__contains__", "is_nonzero",
        "equal",
        "allclose", "nonzero", "argwhere", "unique", "masked_select",
    }
)  # fmt: skip
"""Functions by which the values of a tensor come to decide what Python does next."""
HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
HERE: Final = str(Path(__file__).parent)
CONTAINERS: Final = (tuple, list, torch.Size)


def has_hooks(module: torch.nn.Module) -> bool:
    """Whether anybody is to be told when a module is called."""
    return any(getattr(module, name) for name in HOOKS)


class Frame:
    """One call of one module.

    Attributes:
        owner: The module.
        path: Its name in the model.
        graph: What it called: `call_function`, `call_method`, `call_module`, `get_attr`. Each node has ``form`` (shape,
            strides, dtype, ...) and ``where`` (file and line) in its ``meta``; a `call_module` has its ``frame``.
        key: What it was called with, for a look-up.
        calls: How many calls it stands for: of the module, with the same key, in one call of the model.
        spec: How the tuple that the graph returns is what the module returns, for `torch.utils._pytree`.
        obstacle: Why the graph cannot stand for the module; empty if it can.
    """

    def __init__(self, owner: torch.nn.Module, path: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.owner, self.path = owner, path
        self.graph = fx.Graph()
        self.spec: Any = None
        self.obstacle = ""
        self.key: Hashable = None
        self.calls = 1
        self.wrote: set[int] = set()
        self.made: list[weakref.ref[torch.Tensor]] = []
        self._nodes: dict[int, fx.Node] = {}
        self._kept: list[Any] = []
        self._given: set[int] = set()
        self._stale: set[int] = set()
        self._owned: dict[int, str] | None = None
        self._modes = modes_outside()
        self._before = Before(owner)
        tensors: list[torch.Tensor] = []
        try:
            described = flatten((args, dict(kwargs)), tensors)
        except UnfamiliarError as error:
            self.obstacle = f"is given a value of type {error}"
            return
        self.key = described, tuple(map(form, tensors)), self._modes
        if has_hooks(owner):
            self.obstacle = "has hooks"
        if "forward" in vars(owner):
            self.obstacle = "has a forward of its own"
        for number, tensor in enumerate(tensors):
            self._given.add(storage_of(tensor))
            self._know(tensor, self.graph.placeholder(f"given_{number}"))

    def note(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Add a call of a function of PyTorch."""
        name = getattr(function, "__name__", "")
        owner = getattr(function, "__self__", None)
        if name in READS_DATA:
            self._stop(f"reads values of a tensor in Python ({name})")
        target = written_into(name, args, kwargs)
        if target is not None:
            self.wrote.add(storage_of(target))
        if name in {"set_", "backward", "requires_grad_"}:
            self._stop(f"changes a tensor in place ({name})")
        if self.obstacle or (target is None and not _has_tensor(result)):
            return
        if modes_outside() != self._modes:
            self._stop("switches gradients or autocast inside")
            return
        if target is not None:
            self._write(target, function, name, args, kwargs)
            return
        if name == "__get__":
            self._add(result, "call_function", getattr, (args[0], getattr(owner, "__name__", "")), {})
            return
        method = getattr(torch.Tensor, name, None)
        if method is function or (method is not None and getattr(function, "__module__", "") == "torch._tensor"):
            self._add(result, "call_method", name, args, kwargs)
        else:
            self._add(result, "call_function", function, args, kwargs)

    def note_module(self, inner: Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Add a call of a module."""
        self.wrote |= inner.wrote
        if self.obstacle:
            return
        path = next((name for name, module in self.owner.named_modules() if module is inner.owner), None)
        if not path:
            self._stop("calls a module that is not part of it")
            return
        self._add(result, "call_module", path, args, kwargs, inner)
        for memory in inner.wrote:
            self._shown_otherwise(memory, result)

    def _write(self, target: torch.Tensor, function: Any, name: str, args: Any, kwargs: Mapping[str, Any]) -> None:
        """Add a call that writes as one that does not; what else shows the memory is not to be used any more."""
        memory = storage_of(target)
        self._node_of(target)
        if memory in self._given or "out" in kwargs:
            self._stop("writes in place into what it is given")
            return
        self._add(target, *without_writing(function, name, args, kwargs))
        self._shown_otherwise(memory, target)

    def _shown_otherwise(self, memory: int, written: Any) -> None:
        """Note what else shows memory that was written into: it is not to be used any more."""
        shown = isinstance(written, torch.Tensor) and storage_of(written) == memory
        for other in self._kept:
            alike = isinstance(other, torch.Tensor) and other is not written and storage_of(other) == memory
            if alike and not (shown and not overlap(other, written)):
                self._stale.add(id(other))

    def close(self, result: Any) -> None:
        """Add what the module returned."""
        if not self.obstacle:
            leaves, self.spec = pytree.tree_flatten(result)
            self.graph.output(tuple(map(self._lift, leaves)))
            changed = self._before.changed()
            if changed:
                self._stop(changed)
        self._nodes, self._kept, self._owned = {}, [], None
        del self._before

    def escaped(self) -> bool:
        """Whether a tensor that was made in the call lives on after it."""
        return any(made() is not None for made in self.made)

    def _add(self, result: Any, kind: str, target: Any, args: Any, kwargs: Any, inner: Frame | None = None) -> None:
        lifted, named = self._lift(tuple(args)), self._lift(dict(kwargs))
        if self.obstacle:
            return
        node = self.graph.create_node(kind, target, lifted, named)
        node.meta["where"] = _caller()
        node.meta["frame"] = inner
        self._share(node, result)

    def _share(self, node: fx.Node, result: Any) -> None:
        """Say which tensors a node, or the parts of its tuple, stand for."""
        if isinstance(result, torch.Tensor):
            if id(result) not in self._nodes:
                self.made.append(weakref.ref(result))
            self._know(result, node)
        elif isinstance(result, CONTAINERS):
            for number, part in enumerate(result):
                self._share_part(node, number, part)
        elif _is_record(result):
            for key, part in result.items():
                self._share_part(node, key, part)
        elif node.op == "call_function" and node.target is _pick:  # an object that a module returned
            self._nodes[id(result)] = node
            self._kept.append(result)
        else:
            self._stop(f"gets a value of type {type(result).__name__}")

    def _share_part(self, node: fx.Node, key: object, part: Any) -> None:
        if part is not None and type(part) not in SIMPLE:
            picked = self.graph.call_function(_pick, (node, key))
            picked.meta["where"] = node.meta.get("where", "")
            self._share(picked, part)

    def _know(self, tensor: torch.Tensor, node: fx.Node) -> None:
        node.meta["form"] = tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.requires_grad
        self._nodes[id(tensor)] = node
        self._stale.discard(id(tensor))
        self._kept.append(tensor)  # or its id would be given to another

    def _lift(self, value: Any) -> Any:
        """Replace tensors by the nodes that make them."""
        if type(value) in SIMPLE or value is Ellipsis:
            return value
        if isinstance(value, torch.Tensor) or id(value) in self._nodes:
            return self._node_of(value)
        if isinstance(value, slice):
            return slice(*(self._lift(part) for part in (value.start, value.stop, value.step)))
        if type(value) in CONTAINERS:
            return (list if type(value) is list else tuple)(map(self._lift, value))
        if type(value) is dict:
            return {key: self._lift(part) for key, part in value.items()}
        self._stop(f"uses a value of type {type(value).__name__}")
        return None

    def _node_of(self, tensor: Any) -> fx.Node | None:
        node = self._nodes.get(id(tensor))
        if id(tensor) in self._stale:
            self._stop("writes in place, and uses another view of that")
        if node is not None:
            return node
        if self._owned is None:
            self._owned = dict(_tensors_of(self.owner))
        path = self._owned.get(id(tensor))
        if path is None and tensor.dim():
            self._stop("uses a tensor from elsewhere")
            return None
        with self.graph.inserting_before(_first_call(self.graph)):
            node = self.graph.get_attr(path) if path is not None else self._number(tensor)
        self._given.add(storage_of(tensor))
        self._know(tensor, node)
        return node

    def _number(self, tensor: torch.Tensor) -> fx.Node:
        """Add a number that was made a tensor in the call, unseen: `torch.tensor`. It has to be gone afterwards."""
        self.made.append(weakref.ref(tensor))
        if tensor.requires_grad:
            self._stop("uses a tensor from elsewhere")
        options = {"dtype": tensor.dtype, "device": tensor.device}
        return self.graph.call_function(torch.tensor, (tensor.detach().item(),), options)

    def _stop(self, reason: str) -> None:
        self.obstacle = self.obstacle or reason


def modes_outside() -> Hashable:
    """Return `modes` without the recorder's own."""
    return modes(recording=True)


def _has_tensor(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return True
    if isinstance(value, CONTAINERS):
        return any(map(_has_tensor, value))
    return _is_record(value) and any(map(_has_tensor, value.values()))


def _is_record(value: Any) -> bool:
    """Whether a value is a dict of some kind, as the outputs of `transformers` are."""
    return isinstance(value, dict)


def is_pick(node: fx.Node) -> bool:
    """Whether a node is a part of what a function or a module returned."""
    return node.target is _pick


def _pick(whole: Any, key: Any) -> Any:
    return whole[key]


def _tensors_of(owner: torch.nn.Module) -> Iterator[tuple[int, str]]:
    """Yield the identity and the path of each tensor that a module or a module in it holds."""
    for prefix, module in owner.named_modules(remove_duplicate=False):
        for held in (module._parameters, module._buffers, vars(module)):  # noqa: SLF001  as they are named there
            for name, value in held.items():
                if isinstance(value, torch.Tensor):
                    yield id(value), f"{prefix}.{name}" if prefix else name


def _first_call(graph: fx.Graph) -> fx.Node:
    """Return the first node that is neither given nor held."""
    for node in graph.nodes:
        if node.op not in {"placeholder", "get_attr"}:
            return node
    return graph._root  # noqa: SLF001  inserting before the root is appending


def _caller() -> str:
    """Return file and line of the user's code, from the working directory where it is below that."""
    frame = sys._getframe(3)  # noqa: SLF001
    while frame.f_back is not None and any(part in frame.f_code.co_filename for part in ("/torch/", HERE)):
        frame = frame.f_back
    file = frame.f_code.co_filename.removeprefix(f"{Path.cwd()}/")
    return f"{file}:{frame.f_lineno}"
