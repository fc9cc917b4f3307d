from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.advise import RULES, advise, rules
from perfkit.advise.loss import LEAST_NS
from perfkit.model.attribution import BUSY_CLASSES, IDLE_CAUSES, Blame, Blocked, Copy
from tests.diagnoses import MS, attribution, loader_bound, timeline, two_devices

if TYPE_CHECKING:
    from perfkit.advise import Rule
    from perfkit.model.advice import Finding
    from perfkit.model.attribution import Timeline

SILENT = {"compute", "no_request", "no_work"}
"""Computing is what a device is for, and a service without requests has nothing to repair."""


OF_A_CAUSE = (
    *("PK101", "PK102", "PK201", "PK202", "PK301", "PK302", "PK303", "PK304", "PK305", "PK306", "PK307"),
    *("PK601", "PK901", "PK902"),
)
"""Rules that speak of a cause of idle time without knowing more."""


def findings(*timelines: Timeline, **tables: Any) -> list[Finding]:
    """What is found, but for what is said of the recording and saves no time."""
    return [finding for finding in advise(attribution(*timelines, **tables)).findings if finding.saving_ns]


def lossy(cause: str, share: float, **changes: Any) -> Timeline:
    """A second of a device of which one cause has a part."""
    lost = round(share * 1000 * MS)
    where = {cause: lost}
    if cause in BUSY_CLASSES:
        return timeline(where, {"no_request": 1000 * MS - lost}, **changes)
    return timeline({"compute": 1000 * MS - lost}, where, **changes)


def test_codes_are_in_order_and_unique() -> None:
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_file_of_rules_is_listed() -> None:
    files = {path.stem for path in Path(rules.__file__).parent.glob("pk*.py")}
    assert files == {f"{rule.code.lower()}_{rule.name.replace('-', '_')}" for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_documentation_has_its_headings_and_fits_a_terminal(rule: Rule) -> None:
    lines = rule.documentation.splitlines()
    assert lines[0].startswith(f"{rule.code} {rule.name}: ")
    headings = [line for line in lines[1:] if line and not line.startswith(" ")]
    assert headings == ["What it does:", "Why it is slow:", "Example:", "Fix:", "Fix safety:"]
    assert max(map(len, lines)) <= 80
    assert re.search(r"Fix safety:\n    (Safe|Check|Lossy)\. ", rule.documentation)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.code)
def test_titles_fit_beside_their_price(rule: Rule) -> None:
    assert len(rule.title) <= 54
    assert not rule.title.endswith(".")


@pytest.mark.parametrize("cause", [*BUSY_CLASSES, *IDLE_CAUSES])
def test_every_loss_is_spoken_of_by_exactly_one_rule(cause: str) -> None:
    found = findings(lossy(cause, 0.4))
    assert len(found) == (0 if cause in SILENT else 1)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.code in OF_A_CAUSE], ids=lambda rule: rule.code)
def test_a_finding_is_the_time_lost_with_its_evidence(rule: Rule) -> None:
    found = [
        finding
        for cause in (*BUSY_CLASSES, *IDLE_CAUSES)
        for finding in rule.evaluate(attribution(lossy(cause, 0.4, steps=4)))
    ]
    assert found
    for finding in found:
        assert finding.rule == rule.code
        assert finding.timeline == "71/0"
        assert (finding.saving_low_ns, finding.saving_ns, finding.saving_high_ns) == (0, 400 * MS, 400 * MS)
        assert finding.share == 0.4
        assert finding.evidence[0] == "100 ms of each 250 ms step (40.0 %), 400 ms over 4 steps."
        assert all(re.search(r"\d", sentence) and sentence.endswith(".") for sentence in finding.evidence)
        assert len(finding.title) <= 54
        assert finding.fix.endswith(".")
        assert finding.safety in rule.documentation.rpartition("Fix safety:")[2].lower()


@pytest.mark.parametrize(("share", "number"), [(0.0099, 0), (0.0101, 1)])
def test_less_than_one_percent_is_not_worth_anybodys_time(share: float, number: int) -> None:
    assert len(findings(lossy("data_loading", share))) == number


@pytest.mark.parametrize("cause", ["queued_same_stream", "unattributed_host_silent"])
@pytest.mark.parametrize(("share", "number"), [(0.049, 0), (0.051, 1)])
def test_what_every_trace_has_a_little_of_needs_five_percent(cause: str, share: float, number: int) -> None:
    assert len(findings(lossy(cause, share))) == number


@pytest.mark.parametrize(("lost", "number"), [(LEAST_NS - 1, 0), (LEAST_NS, 1)])
def test_a_loss_within_the_noise_of_a_profiler_is_none(lost: int, number: int) -> None:
    assert len(findings(timeline({"compute": LEAST_NS}, {"python": lost}))) == number


def test_findings_are_ranked_by_saving() -> None:
    idle = {"python": 100 * MS, "data_loading": 300 * MS, "synchronization": 200 * MS}
    found = findings(timeline({"compute": 400 * MS}, idle))
    assert [finding.rule for finding in found] == ["PK101", "PK201", "PK304"]


def test_a_timeline_without_a_window_has_no_findings() -> None:
    assert not findings(timeline({}, {}))
    assert not findings()


@pytest.mark.parametrize(
    ("event", "title"),
    [
        (
            "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
            "The data loader works in the training process",
        ),
        ("enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", "The data loader's workers do not keep up"),
        ("my loader", "The data loader starves the device"),
    ],
)
def test_kind_of_loader_is_told_by_its_event(event: str, title: str) -> None:
    blame = [Blame("71/0", "data_loading", event, "t", "train.py(3): main", 300 * MS, 7)]
    (finding,) = findings(lossy("data_loading", 0.3), blame=blame)
    assert finding.title == title
    assert finding.where == "train.py(3): main"
    assert finding.evidence[1] == (
        f"The host was in `{event}` (100 % of it, 7 gaps, longest at `train.py(3): main`), on `t`."
    )


@pytest.mark.parametrize(
    ("kinds", "title"),
    [
        (["Memcpy HtoD (Pageable -> Device)"], "Copies from pageable memory hold the device up"),
        (["Memcpy DtoD", "Memcpy HtoD (Pageable -> Device)"], "Copies run while nothing else does"),
        ([], "Copies run while nothing else does"),
    ],
)
def test_copies_are_pageable_if_most_of_them_are(kinds: list[str], title: str) -> None:
    copies = [Copy(kind, 2, (30 - 10 * n) * MS, 10**6, 1e9) for n, kind in enumerate(kinds)]
    (finding,) = findings(lossy("exposed_copy", 0.1), copies=copies)
    assert finding.title == title
    assert finding.where == (kinds[0] if kinds else "")


def test_sync_says_how_long_the_host_was_blocked_as_well() -> None:
    blocked = [
        Blocked("main", "data_loading", MS, 1, 1000 * MS),
        Blocked("main", "synchronization", 296 * MS, 134, 1000 * MS),
    ]
    (finding,) = findings(lossy("synchronization", 0.02), blocked=blocked)
    assert finding.evidence[-1].startswith("`main` was inside 134 synchronizing calls for 296 ms (29.6 %)")


def test_of_several_devices_the_one_that_loses_most_is_named() -> None:
    finding = two_devices().advice.findings[0]
    assert (finding.rule, finding.timeline) == ("PK601", "71/1")
    assert finding.evidence[0] == "38.0 ms of the window of 100 ms (38.0 %) on GPU 1; the other loses 0 %."


def test_a_step_as_a_whole_is_nobody_to_blame() -> None:
    finding = next(finding for finding in loader_bound().advice.findings if finding.rule == "PK304")
    assert "ProfilerStep" not in " ".join(finding.evidence)
    assert finding.where == ""


@pytest.mark.parametrize(
    ("gaps", "steps", "code"), [(2, 5, "PK303"), (5, 5, "PK301"), (100, 5, "PK301"), (14, 0, "PK303")]
)
def test_what_an_operator_sets_up_once_is_no_launching(gaps: int, steps: int, code: str) -> None:
    line = timeline({"compute": 600 * MS}, {"operator_dispatch": 400 * MS}, steps=steps)
    blame = (
        Blame(line.id, "operator_dispatch", "aten::conv2d", "thread 1", "", 390 * MS, gaps),
        Blame(line.id, "operator_dispatch", "aten::conv2d", "thread 2", "", 5 * MS, 100),
    )
    found = findings(line, blame=blame)
    once = gaps < steps or not steps
    assert (found[0].rule, found[0].saving_ns) == (code, (390 if once else 400) * MS)
    assert found[0].evidence[-1].count("aten::conv2d") == 1


def test_a_name_with_backticks_or_without_end_stays_within_its_quotes() -> None:
    blame = [Blame("71/0", "data_loading", "`a`" + "x" * 500, "t", "", 300 * MS, 1)]
    (finding,) = findings(lossy("data_loading", 0.3), blame=blame)
    assert finding.evidence[1].count("`") == 4
    assert len(finding.evidence[1]) < 200
