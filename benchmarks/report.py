"""The results of a run, as a table to read and as a file to keep."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.claims import LOAD, shown
from benchmarks.rounds import Spread, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.claims import Claim
    from benchmarks.rounds import Score
    from benchmarks.subjects import Subject


def reading_table(subject: Subject, form: str, scores: Mapping[str, Score]) -> Iterator[str]:
    """Draw what reading one file took; ratios are to `perfkit.load` in the same rounds."""
    yield f"\n{subject.label} {form}: {subject.json_bytes / 1e6:,.1f} MB of JSON, {subject.origin}"
    yield f"  {'':29} {'median s':>9} {'peak MB':>8} {'import MB':>9}   times perfkit.load [10 %, 90 %]"
    for name, score in scores.items():
        if not score.samples:
            yield f"  {name:29} skipped: {score.skipped}"
            continue
        to_load = ratio(score, scores[LOAD])
        numbers = f"{score.median('seconds'):9.3f} {score.peak_bytes / 1e6:8,.0f}"
        imports = max(sample["import_bytes"] for sample in score.samples.values()) / 1e6
        yield f"  {name:29} {numbers} {imports:9,.0f}   {shown(to_load) if to_load else ''}"


def cold_table(cold: Mapping[str, Score]) -> Iterator[str]:
    """Draw the times of the command line; ratios are to ``import numpy`` in the same rounds."""
    yield f"\n{'cold start':45} {'median ms':>9}   times python -c 'import numpy' [10 %, 90 %]"
    for name, score in cold.items():
        to_numpy = ratio(score, cold["python -c 'import numpy'"])
        yield f"  {name:43} {score.median('seconds') * 1e3:9.0f}   {shown(to_numpy) if to_numpy else ''}"


def stage_table(stages: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    """Draw the times of the stages."""
    yield f"\n{'a million events, one stage at a time':45} {'median ms':>9} {'iqr ms':>9} {'n':>4}"
    for name, stage in stages.items():
        yield f"  {name:43} {stage['median_s'] * 1e3:9.1f} {stage['iqr_s'] * 1e3:9.1f} {stage['n']:4.0f}"


def claim_table(claims: Iterable[Claim]) -> Iterator[str]:
    """Draw the promises."""
    yield "\npromises"
    for claim in claims:
        yield f"  {'holds' if claim.holds else 'FAILS':6} {claim.promise}: {claim.measured}"


def reading_record(subject: Subject, form: str, scores: Mapping[str, Score]) -> dict[str, Any]:
    """Return what is kept of one file."""
    return {
        "trace": subject.label,
        "form": form,
        "origin": subject.origin,
        "json_bytes": subject.json_bytes,
        "contestants": {name: score_record(score, scores[LOAD]) for name, score in scores.items()},
    }


def score_record(score: Score, base: Score) -> dict[str, Any]:
    """Return what is kept of one contestant: every sample, and the ratio of its time to that of `base`."""
    if not score.samples:
        return {"skipped": score.skipped}
    keys = next(iter(score.samples.values()))
    samples = {key: [sample[key] for sample in score.samples.values()] for key in keys}
    to_base = ratio(score, base)
    return {
        "n": len(score.samples),
        "seconds": asdict(Spread.of(samples["seconds"])),
        "ratio": asdict(to_base) if to_base else None,
        "rounds": list(score.samples),
        "samples": samples,
    }


def write(path: Path, results: Mapping[str, Any]) -> None:
    """Write the file; lists of numbers take one line."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(_json(results, "") + "\n", encoding="utf-8")


def _json(value: Any, indent: str) -> str:
    if isinstance(value, dict) and any(isinstance(entry, dict | list) for entry in value.values()):
        inner = indent + "  "
        entries = [f"{inner}{json.dumps(key)}: {_json(entry, inner)}" for key, entry in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(entry, dict) for entry in value):
        inner = indent + "  "
        return "[\n" + ",\n".join(inner + _json(entry, inner) for entry in value) + f"\n{indent}]"
    return json.dumps(value)
