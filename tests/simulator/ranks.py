"""Ranks of one job: they meet in collectives, their clocks differ, and one of them may be slow, which is known.

All ranks are processes of one machine. A collective's kernel starts on each rank when it gets there and ends on all at
once, so who waited for whom, and how long, is what the machine noted and no matter of analysis.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.simulator import actions as do
from tests.simulator import host, kineto, nsight
from tests.simulator.host import HostThread, Label, ProcessState, Row, Run
from tests.simulator.machine import Activity, Launched, Machine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FOREVER: Final = 1 << 62
DEVICES_A_NODE: Final = 8
KERNELS: Final = {
    "allreduce": "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
    "_allgather_base": "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
    "_reduce_scatter_base": "ncclDevKernel_ReduceScatter_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)",
}
BUCKETS: Final = ("data_loading", "compute", "synchronization", "python")


@dataclass(frozen=True)
class Slow:
    """A rank that spends `ns` more in `bucket`: in every step, or only in one, counted from 0."""

    rank: int
    bucket: str
    ns: int
    step: int | None = None


@dataclass(frozen=True)
class Job:
    """A training job.

    Attributes:
        ranks: Number of ranks.
        steps: Steps of each.
        seed: What the lengths of host work, kernels and messages are drawn from.
        sharded: Parameters are gathered layer by layer and gradients scattered; else gradients are reduced in buckets.
        tensor_parallel: This many neighbouring ranks share each layer, and reduce within it.
        jitter_ns: Kernels of each rank differ by up to this much.
        slow: Who is slow.
        clocks: What each rank's clock is ahead by, in ns; all are right where it is empty.
        first_steps: The step with which each rank's recording begins, counted from 0; the first one where it is empty.
        named: The traces tell the arguments of collectives, where the form can carry them.
        sequenced: They tell the group's count of each call, too.
    """

    ranks: int = 8
    steps: int = 5
    seed: int = 1
    sharded: bool = False
    tensor_parallel: int = 1
    jitter_ns: int = 0
    slow: tuple[Slow, ...] = ()
    clocks: tuple[int, ...] = ()
    first_steps: tuple[int, ...] = ()
    named: bool = True
    sequenced: bool = False

    def clock_ns(self, rank: int) -> int:
        """What the rank's clock is ahead by."""
        return self.clocks[rank] if self.clocks else 0


@dataclass
class Meeting:
    """One call of a collective: when each member's kernel started, and when they all ended."""

    action: do.Collective
    arrivals: dict[int, int] = field(default_factory=dict)
    steps: dict[int, int | None] = field(default_factory=dict)

    @property
    def last_ns(self) -> int:
        """When the last member started."""
        return max(self.arrivals.values())

    @property
    def end_ns(self) -> int:
        """When the collective ended."""
        return self.last_ns + self.action.transfer_ns

    @property
    def wait_ns(self) -> int:
        """What all members together waited for the last one."""
        return sum(self.last_ns - arrival for arrival in self.arrivals.values())

    @property
    def late_ns(self) -> int:
        """How much later than the last but one the last member started."""
        *_, before, last = sorted(self.arrivals.values())
        return last - before


class Cluster(Machine):
    """A machine whose processes are ranks, in their order, and meet in collectives."""

    def __init__(self, workload: do.Workload) -> None:
        super().__init__(workload)
        self.meetings: dict[tuple[str, int], Meeting] = {}
        self._calls: dict[tuple[int, str], int] = collections.Counter()
        self._polls = 0
        self._rank = {process.program.pid: rank for rank, process in enumerate(self.processes)}
        self._run[do.Collective] = self._collective

    def _collective(self, process: ProcessState, thread: HostThread, action: do.Collective) -> Run:
        yield thread.clock
        step, start, rank = process.step, thread.clock, self._rank[process.program.pid]
        with thread.within(Label(host.LAUNCH)):
            thread.spend(action.call_ns)
        call = self._record_call(process, thread, "LaunchKernelExC", start)
        stream = process.stream(0, action.stream)
        ready, busy_until = thread.clock + action.latency_ns, max(stream.free_at, stream.wait_until)
        arrival = ready if ready >= busy_until else busy_until + action.queue_ns
        key = action.group, self._calls[rank, action.group]
        self._calls[rank, action.group] += 1
        meeting = self.meetings.setdefault(key, Meeting(action))
        meeting.arrivals[rank], meeting.steps[rank] = arrival, step
        while len(meeting.arrivals) < len(action.members):
            self._polls += 1
            yield FOREVER + self._polls  # every other thread goes first; this rank's own clock stands still
        stream.free_at = meeting.end_ns
        arguments = dict(action.arguments)
        if "Seq" in arguments:
            arguments["Seq"] = key[1]
        row = Row("kernel", action.kernel, arrival, meeting.end_ns, 0, action.stream, args=arguments)
        self._add_activity(process, Launched(call, thread, step), row, "exposed_communication")


class Planner:
    """Writes the program of one rank; what is drawn is alike on all ranks."""

    def __init__(self, job: Job, rank: int) -> None:
        self.job, self.rank = job, rank
        self.random = random.Random(f"job {job.seed}")
        self.jitter = random.Random(f"job {job.seed} rank {rank}")
        self.events = 0
        share = job.tensor_parallel
        self.replicas = tuple(range(rank % share, job.ranks, share))
        self.shards = tuple(range(rank - rank % share, rank - rank % share + share))

    def extra(self, bucket: str, step: int) -> int:
        """What this rank spends more in this step."""
        return sum(
            slow.ns
            for slow in self.job.slow
            if (slow.rank, slow.bucket) == (self.rank, bucket) and slow.step in (None, step)
        )

    def kernel(self, extra_ns: int = 0) -> do.Operator:
        """An operator that launches one kernel."""
        name = self.random.choice(("aten::linear", "aten::add_", "aten::layer_norm"))
        ns = self.random.randint(40_000, 90_000) + self.jitter.randint(0, self.job.jitter_ns) + extra_ns
        return do.Operator(name, [do.Work(self.random.randint(4_000, 9_000)), do.Launch(f"kernel_of_{name[6:]}", ns)])

    def collective(self, name: str, members: tuple[int, ...], stream: int) -> do.Operator:
        """The operators around a collective of these members."""
        default, parallel = len(members) == self.job.ranks, members == self.shards
        group = "0" if default else f"{'1' if parallel else '2'}{members[0]:03d}"
        elements = self.random.randint(1 << 18, 1 << 22)
        transfer_ns = self.random.randint(30_000, 60_000) + elements // 40
        sizes = {"_allgather_base": (1, len(members)), "_reduce_scatter_base": (len(members), 1)}.get(name, (1, 1))
        arguments: list[tuple[str, object]] = []
        if self.job.named:
            arguments = [("Collective name", name), ("In msg nelems", elements * sizes[0])]
            arguments += [("Out msg nelems", elements * sizes[1]), ("Group size", len(members)), ("dtype", "BFloat16")]
            arguments += [("In split size", "[]"), ("Out split size", "[]"), ("Process Group Name", group)]
            description = "default_pg" if default else "mesh_tp" if parallel else "mesh_dp"
            arguments += [("Process Group Description", description), ("Process Group Ranks", str(list(members)))]
            arguments += [("Seq", 0)] if self.job.sequenced else []
        action = do.Collective(
            name, KERNELS[name], group, members, transfer_ns, stream=stream, arguments=tuple(arguments)
        )
        return do.Operator(f"c10d::{name}_", [do.Work(5_000), do.Operator("record_param_comms", [action])])

    def aside(self, name: str, *, wait: bool) -> list[do.Action]:
        """A collective of the replicas on its own stream, after what was launched; computation may wait for it."""
        self.events += 1
        before, after = f"ready{self.events}", f"done{self.events}"
        steps: list[do.Action] = [do.RecordEvent(before), do.WaitEvent(before, 13)]
        steps += [self.collective(name, self.replicas, 13), do.RecordEvent(after, 13)]
        return [*steps, do.WaitEvent(after)] if wait else steps

    def layers(self, count: int, extra_ns: int = 0) -> list[do.Action]:
        """Kernels, reduced among the shards of a layer where there are several."""
        found: list[do.Action] = [self.kernel(extra_ns if at == 0 else 0) for at in range(count)]
        return [*found, self.collective("allreduce", self.shards, 7)] if len(self.shards) > 1 else found

    def step(self, at: int) -> list[do.Action]:
        """One training step; the device has nothing left to do when it ends."""
        load_ns = 150_000 + self.extra("data_loading", at)
        forward: list[do.Action] = []
        for layer in range(3):
            forward += self.aside("_allgather_base", wait=True) if self.job.sharded else []
            forward += self.layers(3, self.extra("compute", at) if layer == 0 else 0)
        sync = do.Synchronize("device", return_ns=2_000 + self.extra("synchronization", at))
        lost_ns = self.extra("python", at)
        pause: list[do.Action] = [do.Annotation("## log ##", [do.Work(lost_ns)])] if lost_ns else []
        backward: list[do.Action] = []
        for _ in range(3):
            backward += self.layers(4)
            backward += self.aside("_reduce_scatter_base" if self.job.sharded else "allreduce", wait=False)
        finish: list[do.Action] = [do.WaitEvent(f"done{self.events}")]
        update = do.Annotation("Optimizer.step#AdamW.step", [*finish, *self.layers(2)[:2]])
        copy_in = do.Copy("HtoD", 1 << 20, 20_000)
        loader = do.Loader([do.Operator("aten::stack", [do.Work(load_ns)])])
        return [loader, copy_in, *forward, sync, *pause, *backward, update, do.Synchronize("device")]


@dataclass(frozen=True)
class Recorded:
    """A job that ran: its ranks' recordings, and every meeting."""

    job: Job
    cluster: Cluster

    def meetings(self) -> list[Meeting]:
        """The calls that every member recorded."""
        first = self.job.first_steps
        return [
            meeting
            for meeting in self.cluster.meetings.values()
            if all((step or 0) > (first[rank] if first else 0) for rank, step in meeting.steps.items())
        ]

    def rank(self, rank: int) -> Machine:
        """What a rank recorded: its own process, from its first recorded step on, its device numbered in its node."""
        process = self.cluster.processes[rank]
        begin = self.job.first_steps[rank] if self.job.first_steps else 0
        seen = copy.copy(self.cluster)
        program = dataclasses.replace(process.program, devices=(rank % DEVICES_A_NODE,))
        alone = copy.copy(process)
        alone.program = program
        seen.processes = [alone]
        seen.rows = [row for row in self.cluster.rows if row.pid == process.program.pid and (row.step or 0) > begin]
        seen.activities = [
            Activity(dataclasses.replace(a.row, pid=rank % DEVICES_A_NODE), a.kind, a.launch, a.thread, a.step)
            for a in self.cluster.activities
            if a.row.pid == rank and (a.step or 0) > begin
        ]
        return seen

    def style(self, rank: int) -> kineto.Style:
        """How a rank's Kineto file is written: its clock goes into the base time."""
        size = self.job.ranks
        group = {"pg_name": "0", "pg_desc": "default_pg", "pg_size": size, "ranks": list(range(size))}
        info = {"backend": "nccl", "rank": rank, "world_size": size, "pg_count": 1, "pg_config": [group]}
        epoch_ns = kineto.EPOCH_NS + self.job.clock_ns(rank)
        return kineto.Style(absolute=False, epoch_ns=epoch_ns, header=(("distributedInfo", info),))

    def export(self, rank: int) -> nsight.Export:
        """How a rank's Nsight file is written."""
        environment = (("RANK", str(rank)), ("WORLD_SIZE", str(self.job.ranks)))
        age = nsight.EXPORTS[rank % len(nsight.EXPORTS)]
        return dataclasses.replace(
            age, environment=environment, epoch_ns=kineto.EPOCH_NS + self.job.clock_ns(rank), diagnostics=()
        )

    def write(self, folder: Path, forms: Sequence[str] = ("kineto",)) -> list[Path]:
        """Writes every rank's file; the forms, `kineto` or `nsight`, take turns."""
        paths = []
        for rank in range(self.job.ranks):
            if forms[rank % len(forms)] == "nsight":
                paths.append(folder / f"rank{rank:04d}.sqlite")
                nsight.write(self.rank(rank), paths[-1], self.export(rank))
            else:
                paths.append(folder / f"rank{rank:04d}.json")
                kineto.write(self.rank(rank), paths[-1], self.style(rank))
        return paths


def run(job: Job) -> Recorded:
    """Runs a job."""
    processes = []
    for rank in range(job.ranks):
        planner = Planner(job, rank)
        steps = [planner.step(at) for at in range(job.steps)]
        processes.append(do.Process(4000 + 7 * rank, steps, devices=(rank,), between_ns=2_000))
    cluster = Cluster(do.Workload(processes))
    cluster.run()
    return Recorded(job, cluster)
