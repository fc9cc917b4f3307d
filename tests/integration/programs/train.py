"""A training loop with a second thread at work and loader workers, which ends in the way that it is told.

    train.py STEPS [ENDING] [--workers N] [--context fork|spawn|forkserver] [--sleep-ms N] [--say] [--run FILE]
             [--compiler] [--all-reduce] [--epoch N] [--prefetch N]

Prints the steps that it made. Endings other than ``return`` come after half of the steps. Optimizers import torch's
compiler, two seconds of a run, for which something else stands unless ``--compiler`` or ``--all-reduce`` are given.
"""

import argparse
import ctypes
import os
import signal
import sys
import threading
import time
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


class Samples(Dataset):  # type: ignore[misc]  # torch is not followed
    def __init__(self, sleep_s: float, number: int) -> None:
        self.sleep_s, self.number = sleep_s, number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> torch.Tensor:
        time.sleep(self.sleep_s)
        return torch.full((32,), float(index))


def beside(done: threading.Event) -> None:
    values = torch.ones(16)
    while not done.is_set():
        torch.cumsum(values, 0)  # nothing else in here does that
        time.sleep(0.001)


def end(ending: str) -> None:
    if ending == "raise":
        raise RuntimeError("planned")
    if ending == "exit":
        os._exit(3)
    if ending == "crash":
        ctypes.string_at(0)
    if ending != "return":
        if ending == "SIGINT":  # whoever started the tests may ignore it
            signal.signal(signal.SIGINT, signal.default_int_handler)
        os.kill(os.getpid(), getattr(signal, ending))
        time.sleep(5)


def stand_in_for_the_compiler() -> None:
    found: Any = SimpleNamespace(disable=lambda function, *_, **__: function, graph_break=lambda: None)
    torch._dynamo = sys.modules["torch._dynamo"] = found


def train(asked: argparse.Namespace, model: torch.nn.Module) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    how = {"multiprocessing_context": asked.context, "prefetch_factor": asked.prefetch} if asked.workers else {}
    data = Samples(asked.sleep_ms / 1000, 4 * asked.epoch)
    loader = DataLoader(data, batch_size=4, num_workers=asked.workers, **how)  # with new workers in each epoch
    batches = chain.from_iterable(iter(lambda: iter(loader), None))
    for step in range(asked.steps):
        if step == 4 and asked.say:
            print("training", flush=True)
        if asked.run and asked.run.exists():
            script = asked.run.read_text()
            asked.run.unlink()
            exec(compile(script, asked.run, "exec"))
        optimizer.zero_grad()
        model(next(batches)).sum().backward()
        time.sleep(0.002)
        optimizer.step()
        if step == asked.steps // 2:
            end(asked.ending)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("steps", type=int)
    arguments.add_argument("ending", nargs="?", default="return")
    arguments.add_argument("--workers", type=int, default=0)
    arguments.add_argument("--context", default="fork", help="how workers are started")
    arguments.add_argument("--sleep-ms", type=float, default=0.0)
    arguments.add_argument("--epoch", type=int, default=1 << 18, help="steps after which data begin anew")
    arguments.add_argument("--prefetch", type=int, default=2, help="batches that a worker loads ahead")
    arguments.add_argument("--say", action="store_true", help="say when training begins")
    arguments.add_argument("--run", type=Path, help="a script to run, and remove, before the step at which it is there")
    arguments.add_argument("--compiler", action="store_true", help="let the optimizer import torch's compiler")
    arguments.add_argument("--all-reduce", action="store_true", help="train with the other ranks, by gloo")
    asked = arguments.parse_args()
    torch.set_num_threads(1)
    if not (asked.compiler or asked.all_reduce):
        stand_in_for_the_compiler()
    model: torch.nn.Module = torch.nn.Linear(32, 1)
    if asked.all_reduce:
        torch.distributed.init_process_group("gloo")
        model = torch.nn.parallel.DistributedDataParallel(model)
    done = threading.Event()
    thread = threading.Thread(target=beside, args=(done,))
    thread.start()
    try:
        train(asked, model)
    finally:
        done.set()
        thread.join()
    if asked.all_reduce:
        torch.distributed.destroy_process_group()
    print("steps:", asked.steps)


if __name__ == "__main__":
    main()
