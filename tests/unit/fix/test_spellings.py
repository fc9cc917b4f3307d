"""However an operation is spelled it is found; what is nearly the same is not taken for it."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from perfkit.fix.certainty import certain  # noqa: E402
from perfkit.fix.inlining import inlined  # noqa: E402
from perfkit.fix.operations.sizes import shrinkings  # noqa: E402
from perfkit.fix.optimized import build, put_in, take_out  # noqa: E402
from perfkit.fix.patterns import found_in  # noqa: E402
from perfkit.fix.recording import record  # noqa: E402
from perfkit.fix.sites import sites_of  # noqa: E402
from tests.unit.fix import spellings  # noqa: E402

SAME = [pytest.param(t, f, id=f"{t.kind}: {name}") for t in spellings.TABLES for name, f in t.same.items()]
OTHER = [pytest.param(t, f, id=f"{t.kind}: {name}") for t in spellings.TABLES for name, f in t.other.items()]


def spelled(table: Any, function: Any) -> tuple[Any, Any]:
    model = spellings.Spelled(function, *(torch.randn(shape) for shape in table.shapes))
    return model, table.given()


def kinds(model: Any, inputs: Any) -> list[str]:
    return [place.match.form.kind for place in sites_of(model, inputs, {}).places]


@pytest.mark.parametrize(("table", "function"), SAME)
def test_each_spelling_is_found(table: Any, function: Any) -> None:
    model, inputs = spelled(table, function)
    assert kinds(model, inputs) == [table.kind]


@pytest.mark.parametrize(("table", "function"), OTHER)
def test_what_is_nearly_the_same_is_not(table: Any, function: Any) -> None:
    model, inputs = spelled(table, function)
    assert table.kind not in kinds(model, inputs)


@pytest.mark.parametrize(("table", "function"), SAME)
def test_what_is_put_there_computes_the_same(table: Any, function: Any) -> None:
    model, inputs = spelled(table, function)
    (one,) = build([(place, place.match.form.reference) for place in sites_of(model, inputs, {}).places])
    put_in([one])
    model(*inputs)
    assert one.used == 1
    take_out([one])
    (variant,) = one.variants.values()
    with certain():
        torch.testing.assert_close(variant.run(model, *inputs), model(*inputs))


MUTABLE = [t for t in spellings.TABLES if t.kind not in {"softmax", "attention", "add_layer_norm"}]
"""A softmax takes no notice of what is added to its scores, and a factor is its scale; a norm likewise."""


@pytest.mark.parametrize("change", ["mul", "detach"])
@pytest.mark.parametrize(
    ("table", "function"), [pytest.param(t, f, id=f"{t.kind}: {n}") for t in MUTABLE for n, f in t.same.items()]
)
def test_a_change_anywhere_makes_it_another_function(table: Any, function: Any, change: str) -> None:
    model, inputs = spelled(table, function)
    (place,) = sites_of(model, inputs, {}).places
    changed = 0
    for number, node in enumerate(place.match.region.nodes):
        if "form" not in node.meta or not node.meta["form"][2].is_floating_point or not node.meta["form"][4]:
            continue
        graph = inlined(record(model, inputs, {})[-1])
        target = next(other for other in graph.nodes if other.name == node.name)
        with graph.inserting_after(target):
            new = graph.call_method(change, (target, 1.01) if change == "mul" else (target,))
        new.meta = {name: value for name, value in target.meta.items() if name not in {"name", "constant"}}
        target.replace_all_uses_with(new, delete_user_cb=lambda user, new=new: user is not new)
        assert not any(new in match.region.nodes for match in found_in(graph, model, {})), (number, str(graph))
        changed += 1
    assert changed


def entropy_of_linear(h: Any, t: Any, w: Any) -> Any:
    return torch.nn.functional.cross_entropy(torch.nn.functional.linear(h, w).view(-1, 300).float(), t.view(-1))


def shared_attention(q: Any, k: Any, v: Any) -> Any:
    k, v = (part[:, :, None].expand(2, 2, 2, 96, 80).reshape(2, 4, 96, 80) for part in (k, v))
    hidden = torch.ones(96, 96, dtype=torch.bool).triu(1)
    return (q @ k.mT * 80**-0.5).masked_fill(hidden, float("-inf")).softmax(-1) @ v


REAL_SIZES: dict[str, tuple[Any, tuple[tuple[int, ...], ...], Any]] = {
    "linear_cross_entropy": (
        entropy_of_linear, ((300, 96),), lambda: (torch.randn(2, 70, 96), torch.randint(300, (2, 70)))
    ),
    "attention": (shared_attention, (), lambda: tuple(torch.randn(2, size, 96, 80) for size in (4, 2, 2))),
}  # fmt: skip


@pytest.mark.parametrize("kind", REAL_SIZES)
def test_large_tensors_are_tried_with_smaller_ones(kind: str) -> None:
    function, shapes, given = REAL_SIZES[kind]
    model = spellings.Spelled(function, *(torch.randn(shape) for shape in shapes))
    (place,) = sites_of(model, given(), {}).places
    assert place.match.form.kind == kind
    sizes = next(shrinkings(place.match.region))
    assert sizes
    assert all(smaller <= size / 2 for size, smaller in sizes.items())
