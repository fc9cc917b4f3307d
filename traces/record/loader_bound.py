"""Training an image classifier from a slow store, one sample after another; and its twin, where workers fetch ahead."""

import os
import time
import zlib
from collections.abc import Iterator

import torch
from torch import nn
from torch.utils.data import DataLoader

from traces.record.program import Program, Stopwatch

BATCH = 16
STORED_EDGE = 80
EDGE = 64
CLASSES = 10
STORED_IMAGES = 64
EPOCH_STEPS = 1000
MOST_WORKERS = 12
# What a read from a network store costs before its first byte comes.
STORAGE_LATENCY_S = 0.001


class StoredImages:
    """A map-style dataset: each sample waits for the store, is decompressed, cropped and normalised."""

    def __init__(self, samples: int, latency_s: float) -> None:
        """Compress a few blocky random images; they are served again and again.

        Args:
            samples: how many are in an epoch.
            latency_s: what a read waits for the store.
        """
        self._samples, self._latency_s = samples, latency_s
        seed = torch.Generator().manual_seed(0)
        coarse = torch.randint(0, 256, (STORED_IMAGES, 3, STORED_EDGE // 4, STORED_EDGE // 4), generator=seed)
        pixels = coarse.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
        self._stored = [zlib.compress(bytes(image.flatten().tolist())) for image in pixels]

    def __len__(self) -> int:
        """Return the samples in an epoch."""
        return self._samples

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return one image, float32 [3, EDGE, EDGE], and its class."""
        time.sleep(self._latency_s)
        raw = bytearray(zlib.decompress(self._stored[index % STORED_IMAGES]))
        pixels = torch.frombuffer(raw, dtype=torch.uint8).view(3, STORED_EDGE, STORED_EDGE)
        corner = index % (STORED_EDGE - EDGE)
        crop = pixels[:, corner : corner + EDGE, corner : corner + EDGE].float()
        return crop.div_(255).sub_(0.5).div_(0.25), index % CLASSES


def classifier(channels: int) -> nn.Sequential:
    """Return a small convolutional network for the stored images; `channels` sets how much it computes."""
    return nn.Sequential(
        nn.Conv2d(3, channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(2 * channels, CLASSES),
    )


def _train(device: torch.device, fault: Stopwatch, *, workers: int) -> Iterator[None]:
    on_gpu = device.type == "cuda"
    # A GPU needs a larger model to have something to do while a batch is fetched.
    model = classifier(640 if on_gpu else 12).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    # Pinned memory and an asynchronous copy, so that the loader is the only fault.
    images = StoredImages(BATCH * EPOCH_STEPS, STORAGE_LATENCY_S)
    loader = DataLoader(images, batch_size=BATCH, num_workers=workers, pin_memory=on_gpu)
    for pixels, classes in fault.over(loader):
        scores = model(pixels.to(device, non_blocking=True))
        loss = nn.functional.cross_entropy(scores, classes.to(device, non_blocking=True))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield


def _load_inline(device: torch.device, fault: Stopwatch) -> Iterator[None]:
    return _train(device, fault, workers=0)


def _load_ahead(device: torch.device, fault: Stopwatch) -> Iterator[None]:
    return _train(device, fault, workers=min(MOST_WORKERS, os.cpu_count() or 1))


LOADER_BOUND = Program(
    name="loader_bound",
    source="traces/record/loader_bound.py",
    shows="The device waits while the training loop itself reads and decodes each batch (num_workers=0).",
    shows_on_cpu="The training thread reads and decodes each batch itself (num_workers=0): most of a step is loading.",
    fault="next() of the DataLoader",
    steps=_load_inline,
    repaired=_load_ahead,
    with_stack=True,
)

LOADER_REPAIRED = Program(
    name="loader_repaired",
    source="traces/record/loader_bound.py",
    shows="The same training with worker processes: a batch is there when it is asked for.",
    shows_on_cpu="The same training with worker processes, which share the cores with it: batches are fetched ahead.",
    fault="next() of the DataLoader",
    steps=_load_ahead,
    repaired=None,
    with_stack=True,
)
