"""Part 3: `perfkit.optimize` on three models, each in training and in inference; `python -m benchmarks.gpu.models`."""

from __future__ import annotations

import importlib.util
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from benchmarks.gpu.steps import SkipError, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.gpu.steps import Place

MODES: Final = ("train", "infer")
ROUNDS: Final = 31
STEP_S: Final = 75
DRY_STEP_S: Final = 900
"""Where kernels run in Triton's interpreter, and a CPU compiles."""


def steps(place: Place) -> Iterator[Step]:
    """Yield a step for each model and mode."""
    for name in MODELS:
        for mode in MODES:
            yield Step(f"{name}, {mode}", 1 if place.dry_run else 30, partial(optimized, place, name, mode))


def optimized(place: Place, name: str, mode: str) -> dict[str, Any]:
    """Optimize a model in a process of its own."""
    import perfkit

    if not hasattr(perfkit, "optimize"):
        message = "this perfkit has no optimize()"
        raise SkipError(message)
    if name == "bert" and importlib.util.find_spec("transformers") is None:
        message = "transformers is not installed"
        raise SkipError(message)
    small = ["--small"] if place.dry_run else []
    wrote = place.python("-m", "benchmarks.gpu.models", name, mode, *small, seconds=DRY_STEP_S if small else 2 * STEP_S)
    found: dict[str, Any] = json.loads(wrote.splitlines()[-1])
    return found


class Subject(NamedTuple):
    """A model and what it is called with."""

    model: Any
    inputs: tuple[Any, ...]


def llama(device: Any, *, small: bool) -> Subject:
    """Return blocks as of Llama, written by hand in the way of their published code."""
    import torch

    from benchmarks.gpu.blocks import LlamaBlock

    width, layers, batch, tokens = (64, 2, 2, 16) if small else (2_048, 8, 4, 2_048)
    model = torch.nn.Sequential(
        *(LlamaBlock(width, heads=width // 32 if small else width // 128) for _ in range(layers))
    )
    return Subject(*_on(device, model, torch.randn(batch, tokens, width)))


def bert(device: Any, *, small: bool) -> Subject:
    """Return BERT of transformers, without weights of anyone; eager attention, as written there."""
    import torch
    from transformers import BertConfig, BertModel

    sizes: dict[str, int] = {}
    if small:
        sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    model = BertModel(BertConfig(**sizes, attn_implementation="eager"), add_pooling_layer=False)
    batch, tokens = (2, 16) if small else (32, 512)
    words = torch.randint(1_000, (batch, tokens), device=device)
    return Subject(model.to(device, _dtype(device)), (words,))


def diffusion(device: Any, *, small: bool) -> Subject:
    """Return residual blocks as of a diffusion U-Net: group normalisation, SiLU, convolution, twice."""
    import torch

    from benchmarks.gpu.blocks import ResidualBlock

    channels, size, batch, layers = (32, 8, 1, 1) if small else (320, 64, 16, 4)
    model = torch.nn.Sequential(*(ResidualBlock(channels) for _ in range(layers)))
    return Subject(*_on(device, model, torch.randn(batch, channels, size, size)))


MODELS: Final[dict[str, Callable[..., Subject]]] = {"llama": llama, "bert": bert, "diffusion": diffusion}


def _dtype(device: Any) -> Any:
    import torch

    return torch.bfloat16 if device.type == "cuda" else torch.float32


def _on(device: Any, model: Any, sample: Any) -> tuple[Any, tuple[Any, ...]]:
    return model.to(device, _dtype(device)), (sample.to(device, _dtype(device)),)


def stepper(subject: Subject, mode: str, called: Any) -> Callable[[], Any]:
    """Return one step: forward alone, or with backward."""
    import torch

    if mode == "infer":

        def infer() -> Any:
            with torch.no_grad():
                return called(*subject.inputs)

        return infer

    def train() -> None:
        subject.model.zero_grad()
        result = called(*subject.inputs)
        tensor = result if isinstance(result, torch.Tensor) else result.last_hidden_state
        tensor.float().square().mean().backward()

    return train


def measure(name: str, mode: Literal["train", "infer"], *, small: bool) -> dict[str, Any]:
    """Optimize a model, then time steps of it as it was, compiled, optimized, and optimized and compiled, in turns."""
    import copy

    import torch

    import perfkit
    from benchmarks.kernels.timing import in_turns, spread

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    eager = MODELS[name](device, small=small)
    eager.model.train(mode == "train")
    subjects = {"eager": eager, "torch.compile": copy.deepcopy(eager), "perfkit": copy.deepcopy(eager)}
    mine = subjects["perfkit"]
    patch = perfkit.optimize(mine.model, mine.inputs, mode=mode).patch
    calls: dict[str, Callable[[], Any]] = {}
    for who, subject in subjects.items():
        called = subject.model
        if who == "torch.compile":
            called = torch.compile(called, backend="aot_eager" if small else "inductor")
        calls[who] = step = stepper(subject, mode, called)
        for _ in range(3):
            step()
    samples = in_turns(calls, device.type, 3 if small else ROUNDS)
    pairs = {who: list(zip(samples["eager"], taken, strict=True)) for who, taken in samples.items()}
    return {
        "model": name,
        "mode": mode,
        "ns": {who: spread(taken) for who, taken in samples.items()},
        "over_eager": {who: spread([base / own for base, own in pair]) for who, pair in pairs.items()},
        "over_compile": spread(
            [other / own for other, own in zip(samples["torch.compile"], samples["perfkit"], strict=True)]
        ),
        "won": _won(patch),
        "verdicts": plain(patch),
    }


def _won(patch: Any) -> dict[str, int]:
    """Count the calls that each kind of candidate was chosen for."""
    won: dict[str, int] = {}
    for site in patch.sites:
        name = site.chosen or "left as it was"
        won[name] = won.get(name, 0) + site.calls
    return won


def plain(value: Any) -> Any:
    """Return named tuples as dictionaries, and tuples as lists."""
    if hasattr(value, "_asdict"):
        return {key: plain(entry) for key, entry in value._asdict().items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], "train" if sys.argv[2] == "train" else "infer", small="--small" in sys.argv)))
