"""Writes the kernel of a plan, as text that a person can read."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import fx

from perfkit_kernels.dialect import cdiv
from perfkit_kernels.generate.axes import LITERALS, REDUCTIONS, SAME
from perfkit_kernels.generate.expressions import REPEATED, expression, literal, operator_name
from perfkit_kernels.generate.plan import needed_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from perfkit_kernels.generate.plan import Plan, Result

__all__ = ["kernel_source"]

LONGEST: Final = 72
"""Characters of an expression that is written where it is used."""
ROUNDED: Final = {torch.float16: ".to(tl.float16)", torch.bfloat16: ".to(tl.bfloat16)"}
OUTSIDE: Final = {"sum": "0.0", "amax": 'float("-inf")', "amin": 'float("inf")'}
OVER_ROW: Final = {"sum": "tl.sum({}, 1, keep_dims=True)", "amax": "row_max({})", "amin": "row_min({})"}
TAKEN_IN: Final = {
    "sum": "{0} + {1}",
    "amax": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "amin": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
}


def kernel_source(name: str, title: str, plan: Plan, inputs: Sequence[str], results: Sequence[str]) -> str:
    """Write a kernel.

    Args:
        name: Of its function.
        title: Its docstring.
        plan: Its layout.
        inputs: Names of what it takes.
        results: Names of what it leaves.
    """
    return _Writer(plan, inputs, results).written(name, title)


class _Writer:
    """Writes one kernel; `texts` has the values that are known where the next line is to stand."""

    def __init__(self, plan: Plan, inputs: Sequence[str], results: Sequence[str]) -> None:
        self.plan = plan
        given = [node for node in plan.graph.nodes if node.op == "placeholder"]
        self.inputs = dict(zip(given, inputs, strict=True))
        self.results = dict(zip(plan.results, results, strict=True))
        needed = needed_for(result.term for result in plan.results)
        self.needed = [node for node in plan.graph.nodes if node in needed]
        self.uses = self._uses()
        self.reductions = [node for node in self.needed if node.target in REDUCTIONS and plan.axes.reduced(node)]
        self.blocks = 1 if plan.reduces else cdiv(plan.width, plan.tile.block)
        self.lines: list[str] = []
        self.indent = 1
        self.texts: dict[fx.Node, str] = {}
        self.numbers: dict[fx.Node, Any] = {}
        self.counts: dict[str, int] = {}

    # ------------------------------------------------------------------------------------------------------ values

    def _is_alias(self, node: fx.Node) -> bool:
        """Whether a node is what it takes, held as it is."""
        if node.target in SAME or (node.target in REDUCTIONS and not self.plan.axes.reduced(node)):
            return True
        if "convert_element_type" not in str(node.target):
            return False
        dtype, wanted = node.all_input_nodes[0].meta["val"].dtype, node.args[1]
        return dtype == wanted or (dtype in ROUNDED and wanted == torch.float32)

    def _uses(self) -> dict[fx.Node, int]:
        """Count how often each value is written."""
        uses = dict.fromkeys(self.needed, 0)
        for result in self.plan.results:
            uses[result.term] += 1
        for node in reversed(self.needed):
            weight = uses[node] if node.op == "call_function" and self._is_alias(node) else 1
            for argument in node.args:
                if isinstance(argument, fx.Node):
                    uses[argument] += weight + (node.op == "call_function" and operator_name(node) in REPEATED)
        return uses

    def _say(self, line: str) -> None:
        self.lines.append("    " * self.indent + line)

    @contextlib.contextmanager
    def _loop(self, line: str) -> Iterator[None]:
        """Write a loop; what becomes known in it is not known after it."""
        known = dict(self.texts)
        self._say(line)
        self.indent += 1
        yield
        self.indent -= 1
        self.texts = known

    def _name(self, node: fx.Node) -> str:
        base = operator_name(node).replace("convert_element_type", "cast")
        self.counts[base] = self.counts.get(base, 0) + 1
        return f"{base}_{self.counts[base]}"

    def _text(self, value: Any) -> str:
        """Return what a value is called, and write all that it takes first."""
        if not isinstance(value, fx.Node):
            return literal(value)
        if value not in self.texts:
            self._write(value)
        return self.texts[value]

    def _write(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            name = self.inputs[node]
            self._say(f"{name} = {self._load(node, name)}")
            self.texts[node] = name
            return
        if self._folds(node):
            self.texts[node] = literal(self.numbers[node])
            return
        if self._is_alias(node):
            self.texts[node] = self._text(node.args[0])
            return
        if node.target in REDUCTIONS:
            kind = operator_name(node)
            name, value = self._name(node), self._text(node.args[0])
            self._say(f"{name} = {OVER_ROW[kind].format(f'tl.where(inside, {_bare(value)}, {OUTSIDE[kind]})')}")
            self.texts[node] = name
            return
        text = expression(node, [self._text(value) for value in node.args if not isinstance(value, torch.dtype)],
                          [source.meta["val"].dtype for source in node.all_input_nodes])  # fmt: skip
        if self.uses[node] == 1 and len(text) <= LONGEST:
            self.texts[node] = text
            return
        name = self._name(node)
        self._say(f"{name} = {_bare(text)}")
        self.texts[node] = name

    def _folds(self, node: fx.Node) -> bool:
        """Whether a node is a number; works it out."""
        if node.target in LITERALS:
            self.numbers[node] = next((value for value in node.args if isinstance(value, (bool, int, float))), 0)
        elif all(source in self.numbers for source in node.all_input_nodes) and node.target not in REDUCTIONS:
            if node.target in SAME:
                self.numbers[node] = self.numbers[node.all_input_nodes[0]]
            else:
                given = [
                    torch.tensor(self.numbers[one], dtype=one.meta["val"].dtype) if isinstance(one, fx.Node) else one
                    for one in node.args
                ]
                self.numbers[node] = node.target(*given).item()
        return node in self.numbers

    # --------------------------------------------------------------------------------------------------- addresses

    def _spans(self, node: fx.Node) -> tuple[bool, bool]:
        """Whether a tensor has axes of rows, and of columns."""
        lie = self.plan.lies[node]
        return any(lie.rows), any(lie.columns)

    def _offset(self, node: fx.Node) -> list[str]:
        lie = self.plan.lies[node]
        return [*_walk("row", self.plan.rows, lie.rows), *_walk("column", self.plan.columns, lie.columns)]

    def _load(self, node: fx.Node, name: str) -> str:
        rows, columns = self._spans(node)
        dtype = node.meta["val"].dtype
        mask = "inside" if rows and columns else self._rows_mask() if rows else self._columns_mask() if columns else ""
        where = " + ".join([f"{name}_ptr", *self._offset(node)])
        other = "0.0" if dtype.is_floating_point else "0"
        loaded = f"tl.load({where}, mask={mask}, other={other})" if mask else f"tl.load({where})"
        return f"{loaded}.to(tl.float32)" if dtype.is_floating_point else loaded

    def _rows_mask(self) -> str:
        return f"row < {self.plan.height}"

    def _columns_mask(self) -> str:
        return f"column < {self.plan.width}"

    def _store(self, result: Result) -> None:
        """Write a value where it belongs, those that lack rows or columns from one program only."""
        rows, columns = self._spans(result.term)
        name, dtype = self.results[result], result.term.meta["val"].dtype
        value = self._text(result.term)
        if result.term in self.numbers:
            value = f"tl.full([1, 1], {value}, {name}_ptr.dtype.element_ty)"
        elif dtype in ROUNDED:
            value = value.removesuffix(f"{ROUNDED[dtype]}.to(tl.float32)") + ROUNDED[dtype]
        offset, mask = self._offset(result.term), "inside"
        if (rows and self.plan.width == 1) or (columns and self.plan.height == 1):
            mask = self._rows_mask() if rows else self._columns_mask()
        elif not (rows and columns):
            masks = [f"({self._rows_mask()})" if rows else "(row == 0)"]
            if not rows:
                offset.append("row * 0")
            if columns or not self.plan.reduces:
                masks.append(f"({self._columns_mask()})" if columns else "(column == 0)")
                offset.extend([] if columns else ["column * 0"])
            mask = " & ".join(masks) if len(masks) > 1 else masks[0][1:-1]
        self._say(f"tl.store({' + '.join([f'{name}_ptr', *offset])}, {_bare(value)}, mask={mask})")

    # -------------------------------------------------------------------------------------------------------- body

    def written(self, name: str, title: str) -> str:
        """Return the kernel's text."""
        plan = self.plan
        self._say("program = tl.program_id(0).to(tl.int64)")
        body = self._walked if plan.reduces and not plan.tile.whole else self._summed if plan.sums else self._held
        body()
        pointers = [f"{self.inputs[node]}_ptr" for node in self.inputs if node in plan.lies]
        pointers += [f"{given}_ptr" for given in self.results.values()]
        more = ["programs"] if plan.sums else []
        arguments = ", ".join([*pointers, *more, "ROWS: tl.constexpr", "BLOCK: tl.constexpr"])
        return "\n".join(["@jit", f"def {name}({arguments}):", f'    """{title}"""', *self.lines, ""])

    def _place(self, row: str, *, column: bool = True) -> None:
        self._say(f"row = {row} + tl.arange(0, ROWS)[:, None]")
        if column:
            self._columns()
        self._say(f"inside = ({self._rows_mask()}) & ({self._columns_mask()})")

    def _columns(self, start: str = "") -> None:
        far = any(self.plan.width * max(lie.columns, default=0) >= 1 << 31 for lie in self.plan.lies.values())
        start = start or (f"program % {self.blocks} * BLOCK" if self.blocks > 1 else "")
        text = f"{start} + tl.arange(0, BLOCK)[None, :]" if start else "tl.arange(0, BLOCK)[None, :]"
        self._say(f"column = {text}{'.to(tl.int64)' if far and self.blocks == 1 else ''}")

    def _group(self) -> str:
        return f"program // {self.blocks}" if self.blocks > 1 else "program"

    def _held(self) -> None:
        self._place(f"{self._group()} * ROWS")
        for result in self.plan.results:
            self._store(result)

    def _summed(self) -> None:
        """Programs take tile after tile, and add up in their own sums."""
        sums = [result for result in self.plan.results if result.kind != "whole"]
        self._columns()
        for result in sums:
            self._say(f"{self.results[result]} = tl.zeros([ROWS, BLOCK], tl.float32)")
        for node in self.needed:
            if node.op == "placeholder" and not self._spans(node)[0]:
                self._text(node)
        rows = self.plan.height
        with self._loop(f"for start in range({self._group()} * ROWS, {rows}, programs * ROWS):"):
            self._place("start", column=False)
            for result in self.plan.results:
                if result.kind == "whole":
                    self._store(result)
                else:
                    self._say(f"{self.results[result]} += tl.where(inside, {_bare(self._text(result.term))}, 0.0)")
        for result in sums:
            name = self.results[result]
            if result.kind == "scalar":
                self._say(f"tl.store({name}_ptr + program, tl.sum(tl.sum({name}, 1), 0))")
                continue
            place = f"{name}_ptr + {self._group()} * {self.plan.width} + column"
            self._say(f"tl.store({place}, tl.sum({name}, 0, keep_dims=True), mask={self._columns_mask()})")

    def _walked(self) -> None:
        """Rows too long to be held: walked along for each reduction, and once more for what is left."""
        self._say("row = program * ROWS + tl.arange(0, ROWS)[:, None]")
        self._settle()
        for level in self._levels():
            names = {node: f"{operator_name(node)}_of_row_{self.reductions.index(node) + 1}" for node in level}
            for node, name in names.items():
                self._say(f"{name} = tl.full([ROWS, BLOCK], {OUTSIDE[operator_name(node)]}, tl.float32)")
            with self._along_row():
                for node, name in names.items():
                    value = f"tl.where(inside, {_bare(self._text(node.args[0]))}, {OUTSIDE[operator_name(node)]})"
                    self._say(f"{name} = {TAKEN_IN[operator_name(node)].format(name, value)}")
            for node, name in names.items():
                self._say(f"{name} = {OVER_ROW[operator_name(node)].format(name)}")
                self.texts[node] = name
            self._settle()
        narrow = [result for result in self.plan.results if not self._spans(result.term)[1]]
        for result in narrow:
            self._store(result)
        if len(narrow) < len(self.plan.results):
            with self._along_row():
                for result in self.plan.results:
                    if result not in narrow:
                        self._store(result)

    @contextlib.contextmanager
    def _along_row(self) -> Iterator[None]:
        with self._loop(f"for start in range(0, {self.plan.width}, BLOCK):"):
            self._columns("start")
            self._say(f"inside = ({self._rows_mask()}) & ({self._columns_mask()})")
            yield

    def _settle(self) -> None:
        """Write what has one value for each row as soon as all that it takes is known."""
        for node in self.needed:
            if node in self.texts or self.plan.axes.varies[node] & self.plan.column_axes:
                continue
            known = all(source in self.texts for source in node.all_input_nodes)
            if known and node not in self.reductions and not (node.op == "placeholder" and self._spans(node)[1]):
                self._text(node)

    def _levels(self) -> list[list[fx.Node]]:
        """Group the reductions by how many others each waits for."""
        depth: dict[fx.Node, int] = {}
        for node in self.needed:
            before = max((depth[source] for source in node.all_input_nodes), default=0)
            depth[node] = before + (node in self.reductions)
        deepest = max((depth[node] for node in self.reductions), default=0)
        return [[node for node in self.reductions if depth[node] == level] for level in range(1, deepest + 1)]


def _walk(index: str, sizes: tuple[int, ...], strides: tuple[int, ...]) -> list[str]:
    """Write the offset of an index that counts along some sizes, outermost first."""
    if not any(strides):
        return []
    if all(outer == inner * size for (size, outer, inner) in zip(sizes[1:], strides, strides[1:], strict=False)):
        return [index if strides[-1] == 1 else f"{index} * {strides[-1]}"]
    terms, below = [], 1
    for place in reversed(range(len(sizes))):
        part = f"{index} // {below}" if below > 1 else index
        part = f"{part} % {sizes[place]}" if place else part
        if strides[place]:
            terms.append(f"({part})" if strides[place] == 1 else f"({part}) * {strides[place]}")
        below *= sizes[place]
    return terms[::-1]


def _bare(text: str) -> str:
    """Leave out parentheses around the whole of an expression."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth and place < len(text) - 1:
            return text
    return text[1:-1]
