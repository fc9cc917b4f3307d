"""Programs with a fault removed, to be run again: the truth that predictions are held against."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, NamedTuple

from tests.simulator import actions as do
from tests.simulator.host import MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Range = tuple[int, int]


class Hidden(NamedTuple):
    """What no recording shows of a program with a fault removed, each within a range."""

    launching_ns: Range
    """To launch a step as a graph."""
    taking_ns: Range
    """To take a batch from workers, where none loaded before."""
    seen_taking_ns: Range
    """The same where workers load: what is more than 0.1 ms looks like a wait for the worker."""
    making_percent: Range
    """What a worker needs for one batch, of what it needs for most: only batches that were waited for show it."""


DRAWN = Hidden((8_000, 100_000), (20_000, 200_000), (10_000, 150_000), (50, 200))
GRANTED = Hidden((50_000, 50_000), (100_000, 100_000), (10_000, 100_000), (100, 100))
"""As predictions take it for granted, and say."""

Edit = "Callable[[do.Action, tuple[do.Action, ...]], Sequence[do.Action] | None]"


def edited(workload: do.Workload, edit: Callable[..., Sequence[do.Action] | None]) -> do.Workload:
    """A workload with actions replaced: `edit` is given an action and what is around it, the innermost last, and
    returns what to do instead, or None to look at its children.
    """
    marked: tuple[do.Action, ...] = (do.Annotation("ProfilerStep", ()),) if workload.marks else ()

    def walk(actions: Sequence[do.Action], around: tuple[do.Action, ...]) -> list[do.Action]:
        found: list[do.Action] = []
        for action in actions:
            instead = edit(action, around)
            if instead is not None:
                found += instead
            elif isinstance(action, (*do.NESTING, do.RunOn)):
                inner = () if isinstance(action, do.RunOn) else (*around, action)
                found.append(dataclasses.replace(action, children=walk(action.children, inner)))
            else:
                found.append(action)
        return found

    return dataclasses.replace(
        workload,
        processes=[
            dataclasses.replace(
                process,
                before=walk(process.before, ()),
                steps=[walk(step, marked) for step in process.steps],
                after=walk(process.after, ()),
                beside={
                    name: actions if name in process.hidden else walk(actions, ())
                    for name, actions in process.beside.items()
                },
            )
            for process in workload.processes
        ],
    )


def with_workers(workload: do.Workload, seed: int, hidden: Hidden = DRAWN) -> do.Workload:
    """What loads with workers waits for them, and not for a time that is the same whenever it asks."""
    chooser = random.Random(seed)
    made_ns, taking_ns = chooser.choice((50_000, 400_000, 3_000_000)), chooser.randint(*hidden.seen_taking_ns)

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        if isinstance(action, do.Loader) and action.workers:
            ns = made_ns * chooser.randint(*hidden.making_percent) // 100
            return [do.Loader([do.Batch(ns), do.Work(taking_ns)], action.workers)]
        return None

    return edited(workload, edit)


def overlapped_loader(workload: do.Workload, seed: int, hidden: Hidden = DRAWN) -> do.Workload:
    """Workers have every batch ready; to take one takes a while: what it took, where workers load already."""
    chooser = random.Random(seed)

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        if not isinstance(action, do.Loader):
            return None
        taking_ns = chooser.randint(*hidden.taking_ns)
        if action.workers:
            return [do.Loader([one for one in action.children if not isinstance(one, do.Batch)], action.workers)]
        return [do.Loader([do.Work(min(taking_ns, host_ns(action)))], 2)]

    return edited(workload, edit)


def few_workers(workload: do.Workload, seed: int, hidden: Hidden = DRAWN) -> do.Workload:
    """One worker loads what the program loaded itself, a batch after the other."""
    chooser = random.Random(seed)

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        if not isinstance(action, do.Loader) or action.workers:
            return None
        taking_ns, made_ns = chooser.randint(*hidden.taking_ns), host_ns(action)
        return [do.Loader([do.Batch(made_ns), do.Work(min(taking_ns, made_ns))], 1)]

    return edited(workload, edit)


def captured(workload: do.Workload, seed: int, hidden: Hidden = DRAWN) -> do.Workload:
    """From the first to the last launch of a step the host does nothing but wait; to launch all at once takes a while.

    The first of several steps is as it was. Without steps, all that there is is captured at once.
    """
    chooser = random.Random(seed)

    def launching_ns() -> int:
        return chooser.randint(*hidden.launching_ns)

    def of_process(process: do.Process) -> do.Process:
        alone = dataclasses.replace(process, beside={})
        if not workload.marks:
            return dataclasses.replace(launched_at_once(workload, alone, launching_ns), beside=process.beside)
        kept = 1 if len(process.steps) > 1 else 0
        steps = list(process.steps[:kept])
        for step in process.steps[kept:]:
            one = dataclasses.replace(alone, steps=[step], before=(), after=())
            steps += launched_at_once(workload, one, launching_ns).steps
        return dataclasses.replace(process, steps=steps)

    return dataclasses.replace(workload, processes=[of_process(process) for process in workload.processes])


def launched_at_once(workload: do.Workload, process: do.Process, launching_ns: Callable[[], int]) -> do.Process:
    """A process that does nothing else between its first and its last launch."""
    count = sum(1 for actions in (process.before, *process.steps, process.after) for _ in launched(actions))
    place = 0

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        nonlocal place
        if isinstance(action, (do.Launch, do.GraphLaunch, do.Memset)):
            place += 1
            call_ns = launching_ns() if place == 1 else 0
            if isinstance(action, do.Launch):
                queue_ns, latency_ns = min(action.queue_ns, 1_000), max(action.latency_ns, 0)
                action = dataclasses.replace(action, queue_ns=queue_ns, latency_ns=latency_ns, module_ns=0)
            return [dataclasses.replace(action, call_ns=call_ns)]
        if not 0 < place < count:
            return None
        if isinstance(action, do.Copy) and not action.blocking:
            return [dataclasses.replace(action, call_ns=0)]
        if isinstance(action, (do.Allocate, do.Compile)):
            return []
        return [action] if isinstance(action, do.Loader) else idle(action)

    return edited(dataclasses.replace(workload, processes=[process]), edit).processes[0]


def launched(actions: Sequence[do.Action]) -> Iterator[do.Action]:
    """The kernels, graphs and memsets that are launched, in order."""
    for action in actions:
        if isinstance(action, (do.Launch, do.GraphLaunch, do.Memset)):
            yield action
        elif isinstance(action, (*do.NESTING, do.RunOn)):
            yield from launched(action.children)


def faster_loader(workload: do.Workload, factor: float) -> do.Workload:
    """All work in the loader takes less time."""

    def edit(action: do.Action, around: tuple[do.Action, ...]) -> list[do.Action] | None:
        if isinstance(action, do.Work) and any(isinstance(one, do.Loader) for one in around):
            made = any(isinstance(one, do.Loader) and one.workers for one in around)
            return None if made else [do.Work(round(action.ns / factor))]
        return [do.Batch(round(action.made_ns / factor))] if isinstance(action, do.Batch) else None

    return edited(workload, edit)


def without_syncs(workload: do.Workload) -> do.Workload:
    """Nothing waits for the device."""

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        if isinstance(action, do.Synchronize):
            return []
        if isinstance(action, do.Copy):
            return [dataclasses.replace(action, function="MemcpyAsync", blocking=False)]
        return None

    return edited(workload, edit)


def without_host_time(workload: do.Workload, cause: str) -> do.Workload:
    """What a thread does for a cause takes no time."""

    def edit(action: do.Action, around: tuple[do.Action, ...]) -> list[do.Action] | None:
        within_operator = any(isinstance(one, do.Operator) for one in around)
        loading = any(isinstance(one, do.Loader) for one in around)
        named = any(isinstance(one, do.Annotation) or (workload.stacks and isinstance(one, do.Frame)) for one in around)
        if cause == "allocation":
            return [] if isinstance(action, do.Allocate) and not loading else None
        if cause == "compilation":
            if isinstance(action, do.Launch) and action.module_ns:
                return [dataclasses.replace(action, call_ns=action.call_ns - action.module_ns, module_ns=0)]
            return [] if isinstance(action, do.Compile) and not loading else None
        if cause == "operator_dispatch":
            outermost = next((one for one in around if isinstance(one, do.Operator)), None)
            if outermost is None or loading or (not do.launches([outermost]) and host_ns(outermost) > MS):
                return None
            return idle(action)
        return idle(action) if named and not within_operator and not loading else None

    return edited(workload, edit)


def idle(action: do.Action) -> list[do.Action] | None:
    """An action of which the host has nothing to do."""
    if isinstance(action, (do.Work, do.Overhead, do.Call)):
        return []
    if isinstance(action, (do.RecordEvent, do.WaitEvent)):
        return [dataclasses.replace(action, call_ns=0)]
    return None


def host_ns(action: do.Action) -> int:
    """Host time of an operator that launches nothing."""
    return sum(map(host_ns, action.children)) if isinstance(action, do.NESTING) else getattr(action, "ns", 0)


def faster_kernel(workload: do.Workload, kernel: str, factor: float) -> do.Workload:
    """One kernel takes less time wherever it runs."""

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        if isinstance(action, do.Launch) and action.kernel == kernel:
            return [dataclasses.replace(action, ns=round(action.ns / factor))]
        if isinstance(action, do.GraphLaunch):
            nodes = [
                dataclasses.replace(node, ns=round(node.ns / factor)) if node.kernel == kernel else node
                for node in action.nodes
            ]
            return [dataclasses.replace(action, nodes=nodes)]
        return None

    shorter = edited(workload, edit)
    return with_orphans(shorter, lambda one: round(one.ns / factor) if one.kernel == kernel else one.ns)


def with_orphans(workload: do.Workload, length: Callable[[do.Orphan], int]) -> do.Workload:
    """What was launched before the recording takes another time, too."""
    return dataclasses.replace(
        workload,
        processes=[
            dataclasses.replace(process, orphans=[dataclasses.replace(one, ns=length(one)) for one in process.orphans])
            for process in workload.processes
        ],
    )


def faster_operator(workload: do.Workload, name: str, factor: float) -> do.Workload:
    """An operator takes less time, on the host and by all that it launches."""

    def edit(action: do.Action, around: tuple[do.Action, ...]) -> list[do.Action] | None:
        if not any(isinstance(one, do.Operator) and one.name == name for one in around):
            return None
        if isinstance(action, do.Work):
            return [do.Work(round(action.ns / factor))]
        if isinstance(action, (do.Launch, do.Memset)):
            faster = dataclasses.replace(action, ns=round(action.ns / factor), call_ns=round(action.call_ns / factor))
            if isinstance(faster, do.Launch):
                faster = dataclasses.replace(faster, module_ns=round(faster.module_ns / factor))
            return [faster]
        return None

    return edited(workload, edit)


def overlapped_copies(workload: do.Workload) -> do.Workload:
    """Copies between host and device are on a stream of their own and hold nothing up; nor do the waits for them."""
    last: list[do.Action | None] = [None]

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        before = last[0]
        if isinstance(action, do.LAUNCHING):
            last[0] = action
        if isinstance(action, do.Synchronize) and action.scope == "stream" and isinstance(before, do.Copy):
            return [] if (before.stream, before.device) == (action.stream, action.device) else None
        if isinstance(action, do.Copy) and action.kind != "PtoP":
            return [dataclasses.replace(action, stream=77, function="MemcpyAsync", blocking=False)]
        return None

    return edited(workload, edit)


def overlapped_collectives(workload: do.Workload) -> do.Workload:
    """Nothing in a step waits for its collectives; what it called for that, it calls."""

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        if isinstance(action, do.WaitEvent) and action.event.startswith("reduced"):
            return [do.Call("StreamWaitEvent", action.call_ns)]
        return None

    return edited(workload, edit)


def larger_batch(workload: do.Workload, factor: float, fixed_ns: int) -> do.Workload:
    """Loading, copies and kernels have more to do; a part of each kernel does not grow."""

    def longer(ns: int) -> int:
        return max(ns, round(fixed_ns + (ns - fixed_ns) * factor))

    def edit(action: do.Action, around: tuple[do.Action, ...]) -> list[do.Action] | None:
        if isinstance(action, do.Work) and any(isinstance(one, do.Loader) for one in around):
            made = any(isinstance(one, do.Loader) and one.workers for one in around)
            return None if made else [do.Work(round(action.ns * factor))]
        if isinstance(action, do.Batch):
            return [do.Batch(round(action.made_ns * factor))]
        if isinstance(action, (do.Copy, do.Memset)) or (isinstance(action, do.Launch) and not action.communication):
            return [dataclasses.replace(action, ns=longer(action.ns))]
        if isinstance(action, do.GraphLaunch):
            nodes = [dataclasses.replace(node, ns=longer(node.ns)) for node in action.nodes]
            return [dataclasses.replace(action, nodes=nodes)]
        return None

    return with_orphans(edited(workload, edit), lambda one: longer(one.ns))


def deferred_syncs(workload: do.Workload) -> do.Workload:
    """What waited for a stream waits for what it held when the step began."""
    streams = (7, 13, 20, 29)

    def of_step(process: do.Process, at: int) -> list[do.Action]:
        def edit(action: do.Action, _: object) -> list[do.Action] | None:
            if not isinstance(action, do.Synchronize) or action.scope != "stream":
                return None
            begun = f"step {at} {action.device} {action.stream}"
            return [dataclasses.replace(action, scope="event", event=begun)]

        alone = dataclasses.replace(process, steps=[process.steps[at]], before=(), after=(), beside={})
        (step,) = edited(dataclasses.replace(workload, processes=[alone]), edit).processes[0].steps
        begins: list[do.Action] = [
            do.RecordEvent(f"step {at} {device} {stream}", stream, device, call_ns=0)
            for device in range(len(process.devices))
            for stream in streams
        ]
        return [*begins, *step]

    return dataclasses.replace(
        workload,
        processes=[
            dataclasses.replace(process, steps=[of_step(process, at) for at in range(len(process.steps))])
            for process in workload.processes
        ],
    )


def fused(workload: do.Workload, kernels: Sequence[str]) -> do.Workload:
    """Of each run of some kernels on a stream the first is left, as long as the longest, and no operator of others."""
    last: dict[tuple[int, int], do.Launch | None] = {}
    first_of: dict[int, int] = {}
    longest: dict[int, int] = {}

    def look(action: do.Action, _: object) -> list[do.Action] | None:
        if isinstance(action, do.GraphLaunch):
            last.clear()
        if isinstance(action, (do.Launch, do.Copy, do.Memset)) and not getattr(action, "lost", False):
            key = (action.device, action.stream)
            before = last.get(key)
            fits = isinstance(action, do.Launch) and action.kernel in kernels
            last[key] = action if fits and isinstance(action, do.Launch) else None
            if fits and before is not None:
                first = first_of.get(id(before), id(before))
                first_of[id(action)] = first
                longest[first] = max(longest.get(first, before.ns), action.ns if isinstance(action, do.Launch) else 0)
        return None

    def edit(action: do.Action, _: object) -> list[do.Action] | None:
        if isinstance(action, do.Operator):
            inside = [one for one in action.children if isinstance(one, do.LAUNCHING)]
            nested = any(isinstance(one, do.NESTING) and do.launches([one]) for one in action.children)
            if inside and not nested and all(id(one) in first_of for one in inside):
                return []
        if id(action) in first_of:
            return []
        if isinstance(action, do.Launch) and id(action) in longest:
            return [dataclasses.replace(action, ns=longest[id(action)])]
        return None

    edited(workload, look)
    return edited(workload, edit)
