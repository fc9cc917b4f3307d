"""Image training that augments each batch with numpy between loading and training, in the thread that trains."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, default_collate

from benchmarks.programs.pair import Pair, variant
from traces.record.loader_bound import StoredImages, classifier

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

BATCH, CHANNELS = variant(16, 8, 24, 32), variant(20, 24, 20, 28)  # one worker is to keep up
EPOCH_STEPS = 1000
REACH = variant(5, 3, 2, 6)


def augment(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Flip every other image, brighten, blur a little and clip; [batch, 3, height, width] float32 in and out."""
    images = images.copy()
    images[::2] = images[::2, :, :, ::-1]
    blurred = images
    for axis in (2, 3):
        blurred = np.mean([np.roll(blurred, shift, axis) for shift in range(-REACH, REACH + 1)], axis=0)
    bright = np.power(np.clip(0.25 * blurred + 0.5, 0.01, 1), 0.8)
    return np.ascontiguousarray((bright - bright.mean((2, 3), keepdims=True)) / 0.25, dtype=np.float32)


def _augmented(samples: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    images, classes = default_collate(samples)
    return torch.from_numpy(augment(images.numpy())), classes


def _train(device: torch.device, *, in_workers: bool) -> Generator[torch.Tensor]:
    torch.manual_seed(0)
    model = classifier(CHANNELS if device.type == "cpu" else 640).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = DataLoader(
        StoredImages(samples=BATCH * EPOCH_STEPS, latency_s=0),
        batch_size=BATCH,
        num_workers=1,
        collate_fn=_augmented if in_workers else default_collate,
        pin_memory=device.type == "cuda",
    )
    for images, classes in loader:
        ready = images if in_workers else torch.from_numpy(augment(images.numpy()))
        scores = model(ready.to(device, non_blocking=True))
        loss = nn.functional.cross_entropy(scores, classes.to(device, non_blocking=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield loss.detach()


AUGMENT_IN_LOOP = Pair(
    name="augment_in_loop",
    kind="training",
    fault="numpy augments each batch in the training loop",
    repair="the loader's worker does it while the step before runs",
    rules=dict.fromkeys(("cpu", "cuda"), ("PK305", "PK304")),
    faulty=functools.partial(_train, in_workers=False),
    repaired=functools.partial(_train, in_workers=True),
    settling_steps=8,
    with_stack=True,
)
