"""Reads a report of Nsight Compute with NVIDIA's library and prints it as JSON, a kernel a line.

Run as a program of its own: that library is not made for damaged files, and what it breaks shall be only this process.
"""

from __future__ import annotations

import json
import sys

NOT_INSTALLED = 3
UNREADABLE = 4
LONGEST_TEXT = 4000
PREFIXES = (
    "gpu__",
    "sm__",
    "smsp__average_warp",
    "l1tex__throughput",
    "lts__throughput",
    "dram__",
    "launch__",
    "device__attribute_",
)


def main(path: str) -> int:
    """Print the kernels of a report."""
    try:
        import ncu_report
    except ImportError:
        return NOT_INSTALLED
    try:
        for part in ncu_report.load_report(path):
            for action in part:
                sys.stdout.write(f"{json.dumps(kernel(action))}\n")
                sys.stdout.flush()
    except Exception as error:  # noqa: BLE001  whatever it raises, the file cannot be read on
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return UNREADABLE
    return 0


def kernel(action: object) -> dict[str, object]:
    """Return what a report holds of one kernel."""
    metrics = {}
    for name in action.metric_names():  # type: ignore[attr-defined]
        if name.startswith(PREFIXES):
            metric = action[name]  # type: ignore[index]
            value = metric.value()
            if isinstance(value, (int, float, str)):
                metrics[name] = [value, metric.unit()]
    return {
        "name": action.name(),  # type: ignore[attr-defined]
        "metrics": metrics,
        "rules": [rule(entry) for entry in action.rule_results_as_dicts()],  # type: ignore[attr-defined]
    }


def rule(entry: dict[str, object]) -> dict[str, object]:
    """Return what a rule of the profiler says."""
    message = entry.get("rule_message")
    speedup = entry.get("speedup_estimation")
    message = message if isinstance(message, dict) else {}
    speedup = speedup if isinstance(speedup, dict) else {}
    return {
        "name": entry.get("rule_identifier", ""),
        "section": entry.get("section_identifier", ""),
        "kind": message.get("type"),
        "text": ": ".join(str(message[key]) for key in ("title", "message") if message.get(key))[:LONGEST_TEXT],
        "speedup": speedup.get("speedup"),
        "scope": speedup.get("type"),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
