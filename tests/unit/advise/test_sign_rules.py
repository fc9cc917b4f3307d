"""Rules that look at signs: for each a program that has the fault, and one that is like it and has not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from perfkit.advise import RULES, advise
from perfkit.model.attribution import Blame
from perfkit.model.prediction import FuseKernels
from perfkit.model.signs import (
    Chain,
    Likeness,
    Loader,
    Meeting,
    Memory,
    Signs,
    Stretch,
    Transfer,
    Update,
    Wait,
    Width,
    Work,
)
from perfkit.model.table import Table
from tests.diagnoses import MS, attribution, timeline

if TYPE_CHECKING:
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Attribution, Timeline

GB = 10**9
GPU = timeline({"compute": 900 * MS}, {"no_request": 100 * MS}, steps=4)
THREAD = timeline({"compute": 900 * MS}, {"no_request": 100 * MS}, steps=4, kind="host_thread", device_name="")
LOADING = timeline({"compute": 600 * MS}, {"data_loading": 400 * MS}, steps=4)

CHAIN = Chain(
    GPU.id, "rms_norm", ("pow", "mean", "add", "rsqrt", "mul"), "net.py(4): norm", "Norm", 8,
    200 * MS, 50 * MS, 20 * MS, 40, (1, 2), ((3, 4), (5, 6)),
)  # fmt: skip
ATTENTION = CHAIN._replace(pattern="attention", operators=("bmm", "softmax", "bmm"), time_ns=400 * MS, kept_ns=200 * MS)
FOLDABLE = CHAIN._replace(pattern="batch_norm", operators=("conv2d", "batch_norm"), kept_ns=140 * MS)
STEP = Update(GPU.id, "AdamW.step", "loop", "train.py(9): main", 4, 200 * MS, 100 * MS, 20 * MS, 60 * MS, 4000)
ZERO = STEP._replace(name="AdamW.zero_grad", launches=400)
LAYOUT = Transfer(GPU.id, "layout", "aten::contiguous", "net.py(7): heads", "Attention", 40, 60 * MS, 10 * MS, (7,))
CAST = LAYOUT._replace(kind="type", operator="aten::to")
WIDTH = Width(GPU.id, 108, 8, 800 * MS, 100 * MS, 4096, 600 * MS, 0, (), 0, 0)
TRAINING = Work(GPU.id, True, 0, 0, 0, 0)
SERVING = Work(GPU.id, False, 100, 900 * MS, 20 * MS, 1)
WORKERS = Loader(
    GPU.id, "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", "workers",
    16, 400 * MS, 25 * MS, 40 * MS, 0, 0, 0, 380 * MS, 400 * MS, 0, 0, 0,
)  # fmt: skip
IN_PROCESS = WORKERS._replace(name="enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", kind="in_process")
STALLS = WORKERS._replace(typical_ns=MS, longest_ns=110 * MS, stalled=4, stalled_ns=360 * MS, period=4)
ANEW = WORKERS._replace(ns=90 * MS, late_ns=0, epochs=2, making_ns=60 * MS, startup_ns=120 * MS)
SMALL = Stretch(THREAD.id, "short_operators", "cell.py(3): cell", 4, 600 * MS, 90_000, 400 * MS, 0, 0, ("aten::mul",))
READING = SMALL._replace(reads=80_000, names=("aten::item",))
SILENCE = Stretch(THREAD.id, "no_operator", "train.py(20): count", 4, 200 * MS, 0, 0, 0, 0, ())
DEVICE_WIDE = Wait(GPU.id, "device", "cudaDeviceSynchronize", "cudaDeviceSynchronize", "t", "a.py(1): f", 4, MS, (1,))
ITEM = Wait(GPU.id, "item", "aten::item", "cudaStreamSynchronize", "t", "a.py(2): g", 4, 300 * MS, (2,))
FULL = Memory(GPU.id, 80 * GB, 78 * GB, 79 * GB, 5, 3, 50 * MS, "a.py(3): h")


ALIKE = Likeness(GPU.id, 4, 4, 4, 0, 0)
MEETING = Meeting(GPU.id, "allreduce", 40, 12, 30 * MS, 110 * MS, 100 * MS)
TALKING = timeline({"compute": 800 * MS, "exposed_communication": 200 * MS}, steps=4)


class Case(NamedTuple):
    """A program with a fault, and where it is to be found; beside it a program without."""

    code: str
    where: str
    faulty: Attribution
    healthy: Attribution


def program(line: Timeline = GPU, *, blame: Any = (), kernels: Any = (), **signs: Any) -> Attribution:
    filled = Signs(**{name: Table(rows) for name, rows in signs.items()})
    return attribution(line, blame=blame, kernels=kernels, signs=filled)


def waiting(event: str, where: str) -> Any:
    """A GPU that loses time to a wait."""
    line = timeline({"compute": 800 * MS}, {"synchronization": 200 * MS}, steps=4)
    return {"line": line, "blame": [Blame(line.id, "synchronization", event, "t", where, 200 * MS, 4)]}


CASES = (
    Case(
        "PK101", "", program(LOADING, loaders=[WORKERS]), program(LOADING, loaders=[WORKERS._replace(late_ns=20 * MS)])
    ),
    Case("PK103", "", program(LOADING, loaders=[IN_PROCESS]), program(LOADING, loaders=[WORKERS])),
    Case("PK104", WORKERS.name, program(loaders=[ANEW]), program(loaders=[ANEW._replace(epochs=0, startup_ns=0)])),
    Case("PK105", "", program(LOADING, loaders=[STALLS]), program(LOADING, loaders=[STALLS._replace(period=0)])),
    Case(
        "PK201",
        ITEM.where,
        program(**waiting(ITEM.call, ITEM.where), waits=[ITEM, DEVICE_WIDE]),
        program(**waiting(DEVICE_WIDE.call, DEVICE_WIDE.where), waits=[ITEM, DEVICE_WIDE]),
    ),
    Case("PK201", READING.where, program(THREAD, stretches=[READING]), program(THREAD, stretches=[SMALL])),
    Case(
        "PK203",
        DEVICE_WIDE.where,
        program(**waiting(DEVICE_WIDE.call, DEVICE_WIDE.where), waits=[ITEM, DEVICE_WIDE]),
        program(**waiting(ITEM.call, ITEM.where), waits=[ITEM, DEVICE_WIDE]),
    ),
    Case("PK301", SMALL.where, program(THREAD, stretches=[SMALL]), program(THREAD, stretches=[SILENCE])),
    Case(
        "PK304",
        SILENCE.where,
        program(THREAD, stretches=[SILENCE]),
        program(THREAD, stretches=[SILENCE._replace(calls=1)]),
    ),
    Case("PK308", CHAIN.where, program(chains=[CHAIN]), program(chains=[CHAIN._replace(kept_ns=199 * MS, idle_ns=0)])),
    Case("PK309", ATTENTION.where, program(chains=[ATTENTION]), program(chains=[CHAIN])),
    Case(
        "PK310",
        "",
        program(widths=[WIDTH._replace(full_precision_ns=400 * MS, full_precision=("ampere_sgemm",))]),
        program(widths=[WIDTH._replace(full_precision_ns=400 * MS, capability=7)]),
    ),
    Case("PK311", STEP.where, program(updates=[STEP]), program(updates=[STEP._replace(style="fused")])),
    Case("PK312", ZERO.where, program(updates=[ZERO]), program(updates=[ZERO._replace(launches=0)])),
    Case(
        "PK313",
        FOLDABLE.where,
        program(chains=[FOLDABLE], works=[SERVING]),
        program(chains=[FOLDABLE], works=[TRAINING]),
    ),
    Case("PK314", LAYOUT.where, program(transfers=[LAYOUT]), program(transfers=[CAST])),
    Case("PK315", CAST.where, program(transfers=[CAST]), program(transfers=[LAYOUT])),
    Case(
        "PK401",
        "",
        program(widths=[WIDTH._replace(narrow_ns=700 * MS)], works=[TRAINING]),
        program(widths=[WIDTH], works=[TRAINING]),
    ),
    Case(
        "PK401",
        "",
        program(THREAD, widths=[WIDTH._replace(batch=8)], works=[TRAINING]),
        program(THREAD, widths=[WIDTH._replace(batch=64)], works=[TRAINING]),
    ),
    Case(
        "PK402",
        "",
        program(widths=[WIDTH._replace(batch=1)], works=[SERVING]),
        program(widths=[WIDTH._replace(batch=1)], works=[SERVING._replace(waiting_ns=950 * MS)]),
    ),
    Case(
        "PK501",
        FULL.where,
        program(timeline({"compute": 900 * MS}, {"allocation": 100 * MS}, steps=4), memory=[FULL]),
        program(timeline({"compute": 900 * MS}, {"allocation": 100 * MS}, steps=4), memory=[FULL._replace(retries=0)]),
    ),
    Case(
        "PK502",
        "",
        program(memory=[FULL._replace(allocated=40 * GB)]),
        program(memory=[FULL._replace(allocated=10 * GB, reserved=20 * GB)]),
    ),
    Case("PK503", "", program(memory=[FULL]), program(memory=[FULL._replace(allocated=60 * GB)])),
    Case("PK603", "allreduce", program(TALKING, meetings=[MEETING]), program(TALKING)),
    Case("PK603", "allreduce", program(TALKING, meetings=[MEETING]), program(GPU, meetings=[MEETING])),
    Case("PK903", "", program(timeline({"compute": 9 * MS}, steps=1)), program(timeline({"compute": 9 * MS}, steps=3))),
    Case("PK905", "", program(widths=[WIDTH._replace(graph_ns=500 * MS)]), program(widths=[WIDTH])),
)


def found(code: str, of: Attribution) -> list[Finding]:
    return [finding for finding in advise(of).findings if finding.rule == code]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_a_rule_speaks_where_the_fault_is_and_not_where_it_is_not(case: Case) -> None:
    (finding,) = found(case.code, case.faulty)
    assert finding.where == case.where
    assert (
        0 <= finding.saving_low_ns <= finding.saving_ns <= finding.saving_high_ns <= case.faulty.timelines[0].window_ns
    )
    assert 0 <= finding.share <= 1
    assert all(re.search(r"\d", sentence) and sentence.endswith(".") for sentence in finding.evidence)
    assert finding.fix.endswith(".")
    rule = next(rule for rule in RULES if rule.code == case.code)
    assert finding.safety in rule.documentation.rpartition("Fix safety:")[2].lower()
    assert len(finding.title) <= 54
    assert not found(case.code, case.healthy)


@pytest.mark.parametrize(
    ("likeness", "waits", "fix"),
    [
        ((), [], "or with no host at all: CUDA graphs"),
        ([ALIKE], [], "Capture the step in a CUDA graph"),
        ([ALIKE], [ITEM._replace(calls=3)], "Capture the step in a CUDA graph"),
        ([ALIKE], [ITEM], "no CUDA graph reaches across a wait"),
        ([ALIKE._replace(same_sizes=2)], [], "dynamic=True"),
        ([ALIKE._replace(same_sizes=1, same_work=1)], [ITEM], "steps that differ"),
        ([ALIKE._replace(compiled=4)], [], 'mode="reduce-overhead"'),
        ([ALIKE._replace(compiled=20)], [ITEM], "graph_breaks"),
    ],
)
def test_the_way_out_of_launching_is_chosen_by_what_steps_have_in_common(likeness: Any, waits: Any, fix: str) -> None:
    line = timeline({"compute": 600 * MS}, {"launch_overhead": 400 * MS}, steps=4, activities=4000)
    (finding,) = found("PK301", program(line, likeness=likeness, waits=waits))
    assert fix in finding.fix
    assert bool(finding.what_if) == (fix not in {"dynamic=True", "steps that differ"})
    assert all(re.search(r"\d", sentence) and sentence.endswith(".") for sentence in finding.evidence)


def test_waiting_that_is_certain_is_no_communication_that_could_be_overlapped() -> None:
    alone = found("PK601", program(TALKING))[0]
    (rest,) = found("PK601", program(TALKING, meetings=[MEETING]))
    assert alone.saving_ns - rest.saving_ns == MEETING.exposed_ns


@pytest.mark.parametrize(
    "profiler", ["perfkit", "nsight-systems", "rocprofv3", "onnxruntime", "triton-server", "trtexec"]
)
def test_how_to_record_is_said_in_the_words_of_the_profiler_that_was_used(profiler: str) -> None:
    line = timeline({"compute": 60 * MS}, {"unattributed_host_silent": 40 * MS}, steps=1)
    fixes = [finding.fix for finding in advise(program(line), recorded_as=profiler).findings]
    assert len(fixes) == 2
    assert not [fix for fix in fixes if re.search("activities=|with_stack|schedule\\(", fix)]
    assert all(fix.endswith(".") for fix in fixes)


def test_attention_is_replayed_as_one_kernel_where_all_of_its_kernels_are_known() -> None:
    (finding,) = found("PK309", program(chains=[ATTENTION], works=[SERVING]))
    (change,) = finding.what_if
    assert isinstance(change, FuseKernels)
    assert change.fused_ends_ns is not None
    least, most = change.fused_ends_ns
    assert least < change.fused_ns < ATTENTION.kept_ns / ATTENTION.calls < most
    assert not found("PK309", program(chains=[ATTENTION], works=[TRAINING]))[0].what_if


def test_first_steps_that_take_far_longer_are_a_warm_up() -> None:
    steps = [(0, 500 * MS), (500 * MS, 600 * MS), (600 * MS, 700 * MS), (700 * MS, 800 * MS), (800 * MS, 900 * MS)]
    line = timeline({"compute": 900 * MS}, steps=5)
    slow = Table(step._replace(start_ns=low, end_ns=high) for step, (low, high) in zip(line.steps, steps, strict=True))
    (finding,) = found("PK904", program(line._replace(steps=slow)))
    assert finding.where == line.steps[0].name
    assert "500 ms, the others 100 ms" in finding.evidence[1]
    assert not found("PK904", program(line))


def test_what_says_something_of_the_recording_saves_nothing_and_is_not_the_news() -> None:
    line = timeline({"compute": 60 * MS}, {"python": 40 * MS}, steps=1)
    findings = advise(program(line)).findings
    assert [finding.rule for finding in findings] == ["PK304", "PK903"]
    assert findings[1].saving_high_ns == 0
    alone = advise(program(timeline({"compute": 100 * MS}, steps=1)))
    assert alone.verdict == "The GPU is busy 100 % of the step: nothing that holds it up is worth your time."


def test_steps_in_which_workers_start_may_be_longer_than_starting_shows() -> None:
    (shown,) = found("PK104", program(loaders=[ANEW]))
    (longer,) = found("PK104", program(loaders=[ANEW._replace(longer_ns=300 * MS)]))
    first = ANEW.startup_ns - ANEW.making_ns
    assert (shown.saving_ns, shown.saving_high_ns) == (ANEW.startup_ns - first, ANEW.startup_ns)
    assert (longer.saving_ns, longer.saving_high_ns) == (300 * MS - first, 300 * MS)


def test_a_processor_may_be_slower_as_long_as_its_workers_are_new() -> None:
    (device,) = found("PK104", program(loaders=[ANEW]))
    (thread,) = found("PK104", program(THREAD, loaders=[ANEW._replace(timeline=THREAD.id)]))
    assert thread.saving_ns == device.saving_ns
    assert thread.saving_high_ns == device.saving_high_ns + 90 * MS


def test_a_fused_backward_pass_may_compute_a_function_again() -> None:
    chain = CHAIN._replace(timeline=THREAD.id, kernels=(), idle_ns=0, arithmetic_ns=40 * MS)
    serving, training = (
        found("PK308", program(THREAD, chains=[chain], works=[work._replace(timeline=THREAD.id)]))[0]
        for work in (SERVING, TRAINING)
    )
    assert (serving.saving_ns, serving.saving_high_ns) == (training.saving_ns, training.saving_high_ns)
    assert serving.saving_low_ns - training.saving_low_ns == pytest.approx(30 * MS, rel=0.02)


def test_a_processor_still_computes_the_exponentials_of_a_fused_attention() -> None:
    chain = ATTENTION._replace(timeline=THREAD.id, kernels=())
    softmax = chain._replace(arithmetic_ns=(chain.time_ns - chain.kept_ns) // 2)
    works = [SERVING._replace(timeline=THREAD.id)]
    (moves,), (computes,) = (found("PK309", program(THREAD, chains=[one], works=works)) for one in (chain, softmax))
    assert computes.saving_ns < moves.saving_ns
    assert computes.saving_high_ns < moves.saving_high_ns


def test_no_core_multiplies_faster_than_it_can() -> None:
    width = WIDTH._replace(timeline=THREAD.id, batch=8)
    works = [TRAINING._replace(timeline=THREAD.id)]
    (slow,), (fast,) = (
        found("PK401", program(THREAD, widths=[width._replace(flops_per_s=rate)], works=works)) for rate in (20e9, 90e9)
    )
    assert fast.saving_high_ns < slow.saving_high_ns


@pytest.mark.parametrize(("code", "batch", "work"), [("PK401", 8, TRAINING), ("PK402", 1, SERVING)])
def test_the_nearer_a_processor_is_to_its_peak_the_less_larger_batches_save(code: str, batch: int, work: Any) -> None:
    width = WIDTH._replace(timeline=THREAD.id, batch=batch, flops_per_s=40e9)
    works = [work._replace(timeline=THREAD.id)]
    (slow,), (fast,), (unknown,) = (
        found(code, program(THREAD, widths=[width._replace(peak_flops_per_s=peak)], works=works))
        for peak in (100e9, 200e9, 0)
    )
    assert slow.saving_low_ns < slow.saving_ns < slow.saving_high_ns
    assert slow.saving_ns < fast.saving_ns
    wide, narrow = (one.saving_high_ns - one.saving_low_ns for one in (unknown, fast))
    assert code == "PK402" or narrow < wide


def test_attention_in_one_multiplies_as_fast_as_the_processor_can() -> None:
    chain = ATTENTION._replace(timeline=THREAD.id, kernels=(), arithmetic_ns=50 * MS)
    works, width = [SERVING._replace(timeline=THREAD.id)], WIDTH._replace(timeline=THREAD.id)
    near, far = chain._replace(flops=0.18e9 * 100), chain._replace(flops=0.09e9 * 100)
    (unknown,), (bound,), (slow,) = (
        found("PK309", program(THREAD, chains=[one], widths=[width._replace(peak_flops_per_s=peak)], works=works))
        for one, peak in ((near, 0), (near, 100e9), (far, 100e9))
    )
    assert unknown.saving_ns < bound.saving_ns < slow.saving_ns
    assert slow.saving_high_ns - bound.saving_high_ns == pytest.approx(80 * MS, rel=0.05)


def test_a_function_may_take_less_time_in_the_operator_that_replaces_a_chain() -> None:
    chain = CHAIN._replace(timeline=THREAD.id, kernels=(), idle_ns=0, kept_ns=160 * MS, moving_ns=30 * MS)
    (moves,), (computes,) = (
        found("PK308", program(THREAD, chains=[chain._replace(arithmetic_ns=ns)])) for ns in (0, 160 * MS)
    )
    assert (moves.saving_low_ns, moves.saving_ns) == (computes.saving_low_ns, computes.saving_ns)
    assert moves.saving_high_ns == 1.25 * (200 - 160) * MS
    assert computes.saving_high_ns == 1.25 * (200 - 160 / 4) * MS


def test_norms_that_are_folded_away_are_not_called() -> None:
    chain = FOLDABLE._replace(timeline=THREAD.id, kernels=(), idle_ns=0)
    works = [SERVING._replace(timeline=THREAD.id)]
    (before,), (after,) = (
        found("PK313", program(THREAD, chains=[chain._replace(calling_ns=ns)], works=works)) for ns in (0, 20 * MS)
    )
    ends = [(one.saving_low_ns, one.saving_ns, one.saving_high_ns) for one in (before, after)]
    apart = [second - first for first, second in zip(*ends, strict=True)]
    assert apart == pytest.approx([10 * MS, 20 * MS, 20 * MS], rel=0.01)


def test_who_waits_no_more_may_compute_faster_and_a_late_batch_is_late_by_what_was_seen() -> None:
    line = THREAD._replace(busy={"compute": 600 * MS}, idle={"data_loading": 400 * MS})
    workers = WORKERS._replace(timeline=THREAD.id, late_ns=300 * MS, waited_ns=390 * MS)
    (finding,) = found("PK101", program(line, loaders=[workers]))
    assert (finding.saving_low_ns, finding.saving_ns) == (300 * MS, 300 * MS)
    assert finding.saving_high_ns == 390 * MS + 180 * MS
    (seen,) = found("PK101", program(line, loaders=[workers._replace(idling_ns=300 * MS)]))
    assert (seen.saving_ns, seen.saving_high_ns) == (finding.saving_ns, finding.saving_high_ns)
    assert seen.beyond_ns == finding.beyond_ns + 90 * MS
    (device,) = found("PK101", program(LOADING, loaders=[WORKERS]))
    assert device.beyond_ns == 0


def test_a_loader_whose_batches_are_ready_loses_nothing_by_the_time_it_takes_to_take_them_over() -> None:
    ready = WORKERS._replace(late_ns=5 * MS)
    assert not [finding for finding in advise(program(LOADING, loaders=[ready])).findings if finding.saving_ns]


def test_the_fix_is_that_for_what_asked_for_the_wait() -> None:
    for kind, word in (("item", ".item()"), ("nonzero", "`nonzero`"), ("mask", "mask"), ("print", "print")):
        (finding,) = found("PK201", program(**waiting(ITEM.call, ITEM.where), waits=[ITEM._replace(kind=kind)]))
        assert word in finding.fix
