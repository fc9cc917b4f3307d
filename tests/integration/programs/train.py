"""A training loop with a second thread at work and loader workers, which ends in the way that it is told.

    train.py STEPS [ENDING] [--workers N] [--sleep-ms N] [--say] [--run FILE]

Prints the steps that it made. Endings other than ``return`` come after half of the steps.
"""

import argparse
import os
import signal
import threading
import time
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

arguments = argparse.ArgumentParser()
arguments.add_argument("steps", type=int)
arguments.add_argument("ending", nargs="?", default="return")
arguments.add_argument("--workers", type=int, default=0)
arguments.add_argument("--sleep-ms", type=float, default=0.0)
arguments.add_argument("--say", action="store_true", help="say when training begins")
arguments.add_argument("--run", default="", help="a script to run before the fifth step")
asked = arguments.parse_args()


class Samples(Dataset):  # type: ignore[misc]  # torch is not followed
    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(asked.sleep_ms / 1000)
        return torch.full((32,), float(index))


def beside() -> None:
    values = torch.ones(16)
    while not done.is_set():
        torch.cumsum(values, 0)  # nothing else in here does that
        time.sleep(0.001)


def end() -> None:
    if asked.ending == "raise":
        raise RuntimeError("planned")
    if asked.ending == "exit":
        os._exit(3)
    if asked.ending != "return":
        os.kill(os.getpid(), getattr(signal, asked.ending))
        time.sleep(5)


torch.set_num_threads(1)
model = torch.nn.Linear(32, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
batches = iter(DataLoader(Samples(), batch_size=4, num_workers=asked.workers))
done = threading.Event()
thread = threading.Thread(target=beside)
thread.start()
try:
    for step in range(asked.steps):
        if step == 4 and asked.say:
            print("training", flush=True)
            if asked.run:
                exec(compile(Path(asked.run).read_text(), asked.run, "exec"))
        optimizer.zero_grad()
        model(next(batches)).sum().backward()
        time.sleep(0.002)
        optimizer.step()
        if step == asked.steps // 2:
            end()
finally:
    done.set()
    thread.join()
print("steps:", asked.steps)
