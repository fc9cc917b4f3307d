"""What the tests of real models share: sites counted, models optimized without a clock, and trained."""

from __future__ import annotations

import contextlib
import copy
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import torch

import perfkit
from perfkit.fix.sites import sites_of
from perfkit.verify.numerics import agree
from tests.unit.fix.measures import faster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

STEPS = 50
RATE = 0.01


def kinds(model: Any, inputs: Mapping[str, Any]) -> dict[str, int]:
    """Return how many sites of each kind there are in a call."""
    return dict(Counter(place.match.form.kind for place in sites_of(model, (), inputs).places))


def titles(model: Any, inputs: Mapping[str, Any]) -> set[str]:
    return {place.match.form.title for place in sites_of(model, (), inputs).places}


def optimized(model: Any, inputs: Mapping[str, Any], mode: Any = "train") -> Any:
    return perfkit.optimize(model, inputs, mode=mode, candidates=["native"], measure=faster)


def wide(inputs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.double() if torch.is_tensor(value) and value.is_floating_point() else value
        for name, value in inputs.items()
    }


def loss_of(model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
    result = model(**inputs)
    result = getattr(result, "loss", result)
    return result if not result.dim() else result.square().mean()


def trained(model: Any, inputs: Mapping[str, Any]) -> list[Any]:
    """Return the parameters after some steps."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model, inputs).backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def holds(model: Any, inputs: Mapping[str, Any]) -> None:
    """Assert that a model works as it did: optimized, trained, and as it was when it is reverted, to the bit."""
    model.train()
    start, names = copy.deepcopy(model), list(model.state_dict())
    before = loss_of(model, inputs)
    outcome = optimized(model, inputs)
    if not any(site.chosen for site in outcome.patch.sites):
        worse = [one.reason for site in outcome.patch.sites for one in site.candidates if one.reason.startswith("errs")]
        assert worse, outcome.report()
        pytest.skip(f"what PyTorch has for this processor is too far from the truth: it {worse[0]}")
    assert list(model.state_dict()) == names
    torch.testing.assert_close(loss_of(model, inputs), before)
    with outcome.reverted():
        assert torch.equal(loss_of(model, inputs), before)
    theirs, exact = trained(copy.deepcopy(start), inputs), trained(copy.deepcopy(start).double(), wide(inputs))
    used = sum(one.used for one in outcome._patched)
    mine = trained(model, inputs)
    assert sum(one.used for one in outcome._patched) >= used + STEPS
    size = max(float(truth.abs().max()) for truth in exact)  # of terms that cancel, as in the bias of keys
    for one, other, truth in zip(mine, theirs, exact, strict=True):
        agreement = agree(one, other, truth, magnitude=size)
        assert agreement.right, agreement.reason
    outcome.revert()
    after = loss_of(model, inputs)
    start.load_state_dict(model.state_dict())
    assert torch.equal(loss_of(start, inputs), after)
    assert not any("forward" in vars(module) for module in model.modules())


@contextlib.contextmanager
def alone(tmp_path: Any) -> Iterator[None]:
    """Be the only process of a group."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()
