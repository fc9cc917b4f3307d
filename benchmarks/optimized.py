"""`python -m benchmarks.optimized`: models as they are against the same after `perfkit.optimize`, in turns.

What is asked is whether a model ever comes out slower, and why each place was left. One thread, so that a step takes
the same time whatever the core count; every figure is of one process, eager and optimized steps alternating. Ratios are
of all rounds, times of the calmer half.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import torch
from torch import nn

import perfkit
from benchmarks import report
from benchmarks.gpu.blocks import LlamaBlock, ResidualBlock
from benchmarks.gpu.models import plain
from benchmarks.kernels.device import describe, device_name
from benchmarks.kernels.timing import in_turns, spread
from benchmarks.programs.norm_written_out import _gelu, _norm
from perfkit.verify.timing import calm

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
ROUNDS: Final = 41


class WrittenOut(nn.Module):  # type: ignore[misc]  # torch is not followed
    """A feed-forward block whose norm and activation are operators one by one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take and give ``[rows, width]``."""
        return x + _gelu(self.layer(_norm(x)))


class Attention(nn.Module):  # type: ignore[misc]  # torch is not followed
    """Attention as two products around a softmax."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.into, self.out = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Take and give ``[batch, tokens, width]``."""
        batch, tokens, width = x.shape
        q, k, v = self.into(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        return self.out((scores @ v).transpose(1, 2).reshape(batch, tokens, width))


class Subject(NamedTuple):
    """A model, what it is called with, how, and the optimizer that it is trained with."""

    model: nn.Module
    sample: torch.Tensor
    mode: str
    optimizer: torch.optim.Optimizer | None = None


def convolutional() -> nn.Module:
    """Return depthwise and pointwise convolutions, each with its batch norm."""
    parts: list[nn.Module] = []
    for _ in range(3):
        for layer in (nn.Conv2d(48, 48, 3, padding=1, groups=48, bias=False), nn.Conv2d(48, 48, 1, bias=False)):
            parts += [layer, nn.BatchNorm2d(48), nn.ReLU()]
    return nn.Sequential(*parts)


def narrow() -> Subject:
    """Return a deep, narrow network, where the optimizer takes much of a step."""
    blocks = [part for _ in range(12) for part in (nn.LayerNorm(192), nn.Linear(192, 192), nn.GELU())]
    model = nn.Sequential(*blocks)
    return Subject(model, torch.randn(64, 192), "train", torch.optim.AdamW(model.parameters(), lr=0.001))


def llama(mode: str) -> Subject:
    """Return two blocks as of Llama."""
    return Subject(nn.Sequential(*(LlamaBlock(256, 4) for _ in range(2))), torch.randn(2, 128, 256), mode)


def written_out(mode: str) -> Subject:
    """Return two blocks with norm and activation written out."""
    return Subject(nn.Sequential(*(WrittenOut(384) for _ in range(2))), torch.randn(512, 384), mode)


SUBJECTS: Final[dict[str, Callable[[], Subject]]] = {
    "blocks as of Llama, trained": lambda: llama("train"),
    "blocks as of Llama, serving": lambda: llama("infer"),
    "norm and GELU written out, trained": lambda: written_out("train"),
    "norm and GELU written out, serving": lambda: written_out("infer"),
    "attention written out, serving": lambda: Subject(Attention(256, 8), torch.randn(4, 128, 256), "infer"),
    "batch norms after convolutions, serving": lambda: Subject(convolutional(), torch.randn(2, 48, 56, 56), "infer"),
    "residual blocks of a U-Net, trained": lambda: Subject(ResidualBlock(64), torch.randn(2, 64, 24, 24), "train"),
    "deep and narrow with AdamW, trained": narrow,
    "linear layers alone, serving": lambda: Subject(
        nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512)), torch.randn(64, 512), "infer"
    ),
}


def main() -> None:
    """Read the command line, measure, print a table, and keep it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.optimized", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="subjects with this in their name")
    parser.add_argument("--candidates", nargs="*", default=["native", "compile", "kernel", "graph", "fused"])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["PERFKIT_VERDICTS"] = ""  # every verdict is of this run
    machine = describe(torch.device("cpu")) | {"threads": 1, "load_before": round(os.getloadavg()[0], 2)}
    rows = []
    for name, make in SUBJECTS.items():
        if given.only in name:
            rows.append({"model": name, **measure(make, given.candidates, given.rounds)})
            print(f"{name}: {rows[-1]['speedup']['median']:.2f}", file=sys.stderr, flush=True)
    print("\n".join(table(rows)))
    output = given.output or ROOT / "benchmarks" / "results" / f"optimized-{device_name(machine)}.json"
    report.write(output, {"machine": machine, "models": rows})


def measure(make: Callable[[], Subject], candidates: Sequence[str], rounds: int) -> dict[str, Any]:
    """Optimize a model, and time its steps with the changes and without, in turns."""
    torch.manual_seed(0)
    subject = make()
    train = subject.mode == "train"
    subject.model.train(train)
    began = time.monotonic()
    outcome = perfkit.optimize(
        subject.model,
        subject.sample,
        mode="train" if train else "infer",
        candidates=candidates,
        optimizer=subject.optimizer,
    )
    took = time.monotonic() - began

    def after() -> None:
        with torch.set_grad_enabled(train):
            y = subject.model(subject.sample)
            if train:
                y.square().mean().backward()
                if subject.optimizer is not None:
                    subject.optimizer.step()

    def before() -> None:
        with outcome.reverted():
            after()

    for step in (before, after) * 3:
        step()
    taken = in_turns({"before": before, "after": after}, "cpu", rounds)
    turns = [*zip(taken["before"], taken["after"], strict=True)]
    ratios = [before / after for before, after in turns]
    return {
        "mode": subject.mode,
        "ns": {who: spread(samples) for who, samples in zip(taken, zip(*calm(turns), strict=True), strict=True)},
        "speedup": spread(ratios),
        "optimizing_s": round(took, 1),
        "verdicts": plain(outcome.patch),
    }


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the table as Markdown, and below it why places were left."""
    lines = ["| Model | before, ms | after, ms | times as fast | what was put in |", "|---|---:|---:|---:|---|"]
    for row in rows:
        speed, ns = row["speedup"], row["ns"]
        chosen: dict[str, int] = {}
        for site in row["verdicts"]["sites"]:
            if site["chosen"]:
                what = f"{site['chosen']} ({site['kind'].replace('_', ' ')})"
                chosen[what] = chosen.get(what, 0) + site["calls"]
        done = ", ".join(f"{calls} x {what}" for what, calls in chosen.items()) or "nothing"
        times = f"{ns['before']['median'] / 1e6:.2f} | {ns['after']['median'] / 1e6:.2f}"
        lines.append(
            f"| {row['model']} | {times} | {speed['median']:.2f} [{speed['low']:.2f}, {speed['high']:.2f}] | {done} |"
        )
    slower = [row["model"] for row in rows if row["speedup"]["high"] < 1]
    lines += ["", f"Slower than before: {', '.join(slower) or 'none'}, of {len(rows)}.", ""]
    for row in rows:
        for site in row["verdicts"]["sites"]:
            if not site["chosen"]:
                lines.append(f"- {row['model']}: {site['title']} is left: {site['reason']}")
    return lines


if __name__ == "__main__":
    main()
