"""The fused step of an optimizer: the same training, judged on copies, put in and taken out."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

import perfkit  # noqa: E402
from perfkit.errors import UsageError  # noqa: E402
from tests.unit.fix.measures import faster, slower  # noqa: E402

KINDS = [
    partial(torch.optim.AdamW, lr=1e-3, weight_decay=0.1),
    partial(torch.optim.Adam, lr=1e-3, amsgrad=True),
    partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True),
    partial(torch.optim.Adagrad, lr=0.1),
]


def model() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8))


def optimized(net: Any, optimizer: Any, measure: Any = faster, **options: Any) -> Any:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(1))
    return perfkit.optimize(net, x, mode="train", candidates=["fused"], optimizer=optimizer, measure=measure, **options)


def train(net: Any, optimizer: Any, steps: int) -> None:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(2))
    for _ in range(steps):
        optimizer.zero_grad()
        (net(x) - x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.func.__name__)
@pytest.mark.parametrize("before", [0, 3])
def test_training_goes_on_as_it_would_have(kind: Any, before: int) -> None:
    mine, theirs = model(), model()
    groups = [[{"params": net[0].parameters(), "lr": 0.01}, {"params": net[2].parameters()}] for net in (mine, theirs)]
    fused, plain = kind(groups[0]), kind(groups[1])
    train(mine, fused, before)
    train(theirs, plain, before)
    state = copy.deepcopy(fused.state_dict())
    outcome = optimized(mine, fused)
    (site,) = outcome.patch.sites
    assert site.chosen == "fused", site.reason
    assert all(group["fused"] and not group["foreach"] for group in fused.param_groups)
    for after in (3, 0):
        train(mine, fused, 3)
        train(theirs, plain, 3)
        for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other)
        if after:
            outcome.revert()
            assert [group["fused"] for group in fused.param_groups] == [g["fused"] for g in state["param_groups"]]
    plain.load_state_dict(fused.state_dict())


def test_nothing_is_touched_that_is_not_faster() -> None:
    net = model()
    optimizer = torch.optim.AdamW(net.parameters())
    train(net, optimizer, 2)
    weights, state = copy.deepcopy(net.state_dict()), copy.deepcopy(optimizer.state_dict())
    outcome = optimized(net, optimizer, slower)
    assert not outcome.applied
    assert "not surely 3 % faster" in outcome.patch.sites[0].reason
    assert str(optimizer.state_dict()) == str(state)
    assert all(torch.equal(weights[name], value) for name, value in net.state_dict().items())


def test_what_cannot_be_fused_says_why() -> None:
    class Own(torch.optim.SGD):  # type: ignore[name-defined]
        pass

    net = model()
    reasons = {
        "only for Adam": Own(net.parameters(), lr=0.1),
        "is what it does already": torch.optim.AdamW(net.parameters(), fused=True),
        "cannot be differentiated": torch.optim.AdamW(net.parameters(), differentiable=True),
    }
    for reason, optimizer in reasons.items():
        outcome = optimized(net, optimizer)
        assert reason in outcome.patch.sites[0].reason
        assert not outcome.applied
    sparse = torch.nn.Embedding(4, 8, sparse=True)
    outcome = perfkit.optimize(
        sparse, torch.tensor([1]), mode="train", candidates=["fused"], measure=faster,
        optimizer=torch.optim.Adagrad(sparse.parameters()),
    )  # fmt: skip
    assert "sparse" in outcome.patch.sites[0].reason


def test_a_fused_step_that_is_wrong_is_not_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch._fused_adamw_

    def wrong(*args: Any, **options: Any) -> Any:
        return right(*args, **{**options, "eps": 1e-2})

    monkeypatch.setattr(torch, "_fused_adamw_", wrong)
    net = model()
    outcome = optimized(net, torch.optim.AdamW(net.parameters()))
    assert "is allowed" in outcome.patch.sites[0].reason


def test_an_optimizer_where_nothing_trains_is_refused() -> None:
    net = model()
    with pytest.raises(UsageError, match="nothing trains"):
        perfkit.optimize(net, torch.ones(1, 8), mode="infer", optimizer=torch.optim.SGD(net.parameters()))
