"""Records two processes that train one model on one GPU, one of them late: `python -m benchmarks.gpu.ranks FOLDER`.

NCCL refuses two ranks on one device of one host. Told that they are two hosts, it lets them talk over the loopback
interface: slowly, but by the calls and kernels of a real job. Where there is no GPU, gloo takes its place.
"""

from __future__ import annotations

import datetime
import gzip
import hashlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import Final

import torch
from torch import nn
from torch.distributed import destroy_process_group, init_process_group
from torch.nn.parallel import DistributedDataParallel

from traces.record import manifest
from traces.record.recorder import REPOSITORY, label, machine_of, profile_steps
from traces.record.scrub import WHAT_IS_SCRUBBED, installed_roots, scrub

RANKS: Final = 2
LATE: Final = 1
LATE_S: Final = 0.02
STEPS: Final = 5
SETTLING: Final = 5
WIDTH: Final = 512
PATIENCE: Final = datetime.timedelta(seconds=60)


def work(rank: int, port: int, folder: str) -> None:
    """Be one of the ranks."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "WORLD_SIZE": str(RANKS)}
    os.environ |= {"NCCL_HOSTID": f"rank{rank}", "NCCL_SOCKET_IFNAME": "lo", "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(4))).to(device))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    samples = torch.randn(256, WIDTH, device=device)

    def step() -> None:
        if rank == LATE:
            time.sleep(LATE_S)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(samples), samples).backward()
        optimizer.step()

    for _ in range(SETTLING):
        step()
    text = profile_steps(step, device, STEPS, False, lambda: None)  # noqa: FBT003
    name = f"rank{rank}.json"
    content = scrub(text, name, [REPOSITORY, *installed_roots()]).encode()
    (Path(folder) / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=9, mtime=0))
    destroy_process_group()


def main() -> None:
    """Start the ranks, and write what they recorded into the manifest."""
    folder = Path(sys.argv[1])
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = f"two_ranks_{label(device)}"
    made = folder / name
    made.mkdir(parents=True, exist_ok=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    torch.multiprocessing.spawn(work, (port, str(made)), RANKS)
    for rank in range(RANKS):
        content = (made / f"rank{rank}.json.gz").read_bytes()
        entry: manifest.Entry = {
            "file": f"{name}/rank{rank}.json.gz",
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "shows": f"Rank {LATE} of {RANKS} is {LATE_S * 1000:.0f} ms late in each step; the other waits for it.",
            "program": "benchmarks/gpu/ranks.py",
            "command": "python -m benchmarks.gpu.ranks traces",
            "recorded": datetime.datetime.now(datetime.UTC).date(),
            "steps": STEPS,
            "machine": machine_of(device),
            "truth": {"fault": f"rank {LATE} sleeps", "fault_ns": round(LATE_S * 1e9)},
        }
        manifest.update(folder / "MANIFEST.toml", entry, {"times": "integer nanoseconds", "scrubbed": WHAT_IS_SCRUBBED})
        print(f"{entry['file']}: {entry['bytes']} bytes")


if __name__ == "__main__":
    main()
