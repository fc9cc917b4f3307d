"""A model's forward, as it runs: one graph for each call of each module, in the functions its author called.

The functions are seen by a `TorchFunctionMode` while the model runs on real inputs: whatever is written in Python
between them (loops, branches on shapes, any style) has run and is gone. A module that a module calls is one node of its
graph, so hooks of that module keep being called. What a graph cannot stand for is named, and the module left alone.
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx
from torch.overrides import TorchFunctionMode

from perfkit.fix.signature import SIMPLE, UnfamiliarError, flatten, form, modes

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping

__all__ = ["Frame", "has_hooks", "record"]

READS_DATA: Final = frozenset(
    {
        "item", "tolist", "numpy", "__bool__", "__int__", "__float__", "__index__", "__contains__", "is_nonzero",
        "equal",
        "allclose", "nonzero", "argwhere", "unique", "masked_select",
    }
)  # fmt: skip
"""Functions by which the values of a tensor come to decide what Python does next."""
HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
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
        obstacle: Why the graph cannot stand for the module; empty if it can.
    """

    def __init__(self, owner: torch.nn.Module, path: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.owner, self.path = owner, path
        self.graph = fx.Graph()
        self.obstacle = ""
        self.key: Hashable = None
        self.written = False
        self._nodes: dict[int, fx.Node] = {}
        self._kept: list[object] = []
        self._owned: dict[int, str] | None = None
        self._modes = modes_outside()
        self._state = dict(vars(owner))
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
            self._know(tensor, self.graph.placeholder(f"given_{number}"))

    def note(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Add a call of a function of PyTorch."""
        name = getattr(function, "__name__", "")
        owner = getattr(function, "__self__", None)
        if name in READS_DATA:
            self._stop(f"reads values of a tensor in Python ({name})")
        if self.obstacle or not _has_tensor(result):
            if name in {"__setitem__", "set_", "backward"}:
                self._stop(f"changes a tensor in place ({name})")
            return
        if modes_outside() != self._modes:
            self._stop("switches gradients or autocast inside")
            return
        if name == "__get__":
            self._add(result, "call_function", getattr, (args[0], getattr(owner, "__name__", "")), {})
            return
        if (name.endswith("_") and not name.endswith("__")) or name.startswith("__i") or "out" in kwargs:
            self.written = True
        method = getattr(torch.Tensor, name, None)
        if method is function or (method is not None and getattr(function, "__module__", "") == "torch._tensor"):
            self._add(result, "call_method", name, args, kwargs)
        else:
            self._add(result, "call_function", function, args, kwargs)

    def note_module(self, inner: Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> None:
        """Add a call of a module."""
        if self.obstacle:
            return
        path = next((name for name, module in self.owner.named_modules() if module is inner.owner), None)
        if not path:
            self._stop("calls a module that is not part of it")
            return
        self._add(result, "call_module", path, args, kwargs, inner)

    def close(self, result: Any) -> None:
        """Add what the module returned."""
        if not self.obstacle:
            self.graph.output(self._lift(result))
            now = vars(self.owner)
            if now.keys() != self._state.keys() or any(now[name] is not value for name, value in self._state.items()):
                self._stop("changes its own attributes")
            if self.written:
                self._stop("writes in place")
        self._nodes, self._kept, self._owned, self._state = {}, [], None, {}

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
            self._know(result, node)
        elif isinstance(result, CONTAINERS):
            for number, part in enumerate(result):
                self._share_part(node, number, part)
        elif type(result) is dict:
            for key, part in result.items():
                self._share_part(node, key, part)
        elif not _is_record(result):
            self._stop(f"gets a value of type {type(result).__name__}")
        else:
            for key, part in result.items():
                self._share_part(node, key, part)

    def _share_part(self, node: fx.Node, key: object, part: Any) -> None:
        if part is not None and type(part) not in SIMPLE:
            picked = self.graph.call_function(_pick, (node, key))
            picked.meta["where"] = node.meta.get("where", "")
            self._share(picked, part)

    def _know(self, tensor: torch.Tensor, node: fx.Node) -> None:
        node.meta["form"] = tensor.shape, tensor.stride(), tensor.dtype, tensor.device, tensor.requires_grad
        self._nodes[id(tensor)] = node
        self._kept.append(tensor)  # or its id would be given to another

    def _lift(self, value: Any) -> Any:
        """Replace tensors by the nodes that make them."""
        if isinstance(value, torch.Tensor):
            return self._node_of(value)
        if type(value) in SIMPLE or value is Ellipsis:
            return value
        if isinstance(value, slice):
            return slice(*(self._lift(part) for part in (value.start, value.stop, value.step)))
        if type(value) in CONTAINERS:
            return (list if type(value) is list else tuple)(map(self._lift, value))
        if type(value) is dict:
            return {key: self._lift(part) for key, part in value.items()}
        self._stop(f"uses a value of type {type(value).__name__}")
        return None

    def _node_of(self, tensor: torch.Tensor) -> fx.Node | None:
        node = self._nodes.get(id(tensor))
        if node is not None:
            return node
        if self._owned is None:
            self._owned = dict(_tensors_of(self.owner))
        path = self._owned.get(id(tensor))
        if path is None:
            self._stop("uses a tensor from elsewhere")
            return None
        with self.graph.inserting_before(_first_call(self.graph)):
            node = self.graph.get_attr(path)
        self._know(tensor, node)
        return node

    def _stop(self, reason: str) -> None:
        self.obstacle = self.obstacle or reason


def record(model: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Frame]:
    """Run a model, and return a frame for each call of a module, in the order in which they ended."""
    frames: list[Frame] = []
    stack: list[Frame] = []
    names = {id(module): name for name, module in model.named_modules()}
    original = torch.nn.Module.__call__

    class Recorder(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            del types
            result = function(*args, **(kwargs or {}))
            if stack:
                stack[-1].note(function, args, kwargs or {}, result)
            return result

    def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        frame = Frame(module, names.get(id(module), ""), args, kwargs)
        stack.append(frame)
        try:
            result = original(module, *args, **kwargs)
            frame.close(result)
        finally:
            stack.pop()
        frames.append(frame)
        if stack:
            stack[-1].note_module(frame, args, kwargs, result)
        return result

    with _replaced(call), Recorder():
        call(model, *args, **kwargs)
    return frames


@contextlib.contextmanager
def _replaced(call: Callable[..., Any]) -> Iterator[None]:
    original = torch.nn.Module.__call__
    torch.nn.Module.__call__ = call
    try:
        yield
    finally:
        torch.nn.Module.__call__ = original


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
    """Return file and line of the user's code."""
    frame = sys._getframe(3)  # noqa: SLF001
    while frame.f_back is not None and ("/torch/" in frame.f_code.co_filename or frame.f_code.co_filename == __file__):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
