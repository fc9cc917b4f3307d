"""Tables that ``ncu --csv`` prints: the page of details, a metric or rule a row, and the raw page, a kernel a row."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perfkit.errors import UnreadableTraceError
from perfkit.ingest.defects import DefectList
from perfkit.ingest.kernel_metrics import LABELS, make_profile, make_rule
from perfkit.model.kernel_profile import KernelReport
from perfkit.model.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from perfkit.ingest.source import Content
    from perfkit.model.kernel_profile import KernelProfile

__all__ = ["FORMAT", "read_kernels"]

FORMAT: Final = "nsight-compute-csv"

LARGEST_BYTES: Final = 256 << 20
LONGEST_CELL: Final = 1 << 20

HEADER: Final = re.compile(r"^\ufeff?\"?(?:ID|Process ID)\"?([,;\t]).*\bKernel Name\b.*$", re.MULTILINE)
BRACKETS: Final = re.compile(r"\s*\[(.*?)\]$|^SOL ", re.IGNORECASE)
NUMBERS: Final = re.compile(r"\d+")


class Kernel(NamedTuple):
    """One kernel while its rows are read: cells of its first row by column, metrics by name, and rules."""

    cells: dict[str, str]
    metrics: dict[str, tuple[float | str, str]]
    rules: list[dict[str, Any]]


def read_kernels(content: Content, progress: Callable[[int, int | None], None] | None) -> KernelReport:
    """Read what was printed, as `perfkit.ingest.formats.KernelReader` has it; a log around the table is passed over."""
    label, defects = content.source.label, DefectList()
    data = bytearray()
    for chunk in content.chunks(progress):
        data += chunk
        if len(data) > LARGEST_BYTES:
            message = (
                f"{label} is larger than {LARGEST_BYTES >> 20} MB: print fewer kernels with `ncu --csv --launch-count`"
            )
            raise UnreadableTraceError(message)
    for kind, offset in content.source.defects:
        defects.add(kind, 1, offset)
    printed = data.decode("utf-8", "replace").replace("\0", "")
    kernels: list[Kernel] = []
    csv.field_size_limit(LONGEST_CELL)
    for begin in [match.start() for match in HEADER.finditer(printed)] or [0]:
        try:
            kernels.extend(table(printed[begin:]))
        except csv.Error as error:
            defects.add("malformed_row", 1, detail=str(error))
    if not kernels:
        message = f"{label} holds the head of a table of Nsight Compute, and no kernel below it: print it again"
        raise UnreadableTraceError(message)
    return KernelReport(label, FORMAT, Table(finish(label, kernels)), defects.sorted())


def table(printed: str) -> Iterable[Kernel]:
    """Read one table, up to a row that is none of it."""
    head = HEADER.search(printed)
    rows = csv.reader(printed.splitlines(), delimiter=head[1] if head else ",")
    names = [name.lstrip("\ufeff") for name in next(rows, [])]
    body = (row for row in rows if row and not row[0].startswith("=="))
    found: dict[tuple[str, str], Kernel] = {}
    if "Metric Name" in names or "Section Name" in names:
        for cells in details(names, body):
            key = (cells.get("Process ID", ""), cells.get("ID", ""))
            add_detail(found.setdefault(key, Kernel(cells, {}, [])), cells)
        return found.values()
    return raw(names, body)


def details(names: list[str], rows: Iterable[list[str]]) -> Iterator[dict[str, str]]:
    """Yield the rows of the page of details by column: rows of metrics stop short of the columns of rules."""
    for row in rows:
        if not row[0].strip('"').isdigit():
            return
        yield dict(zip(names, row, strict=False))


def add_detail(kernel: Kernel, cells: dict[str, str]) -> None:
    """Add a row of the page of details to its kernel."""
    if cells.get("Rule Name"):
        speedup = number(cells.get("Estimated Speedup", ""))
        kernel.rules.append(
            {
                "name": cells["Rule Name"],
                "section": cells.get("Section Name", ""),
                "kind": cells.get("Rule Type", ""),
                "text": cells.get("Rule Description", ""),
                "speedup": speedup,
                "scope": cells.get("Estimated Speedup Type", ""),
            }
        )
    label, unit = cells.get("Metric Name", ""), cells.get("Metric Unit", "")
    bracket = re.search(r"\[(.*?)\]$", label)
    unit = bracket[1] if bracket and not unit else unit
    name = label if "__" in label else named(label, unit)
    if name:
        value = cells.get("Metric Value", "")
        exact = number(value)
        kernel.metrics[name] = (value if exact is None else exact, unit)


def named(label: str, unit: str) -> str:
    """Return the metric that a label of the page of details stands for, or nothing."""
    kind = "%" if unit == "%" else "/s" if re.search(r"/s(?:econd)?$", unit) else ""
    plain = re.sub(r"\s*\[.*?\]$", "", label).lower()
    return LABELS.get((plain, kind), "")


def raw(names: list[str], rows: Iterator[list[str]]) -> Iterator[Kernel]:
    """Yield the kernels of the raw page: below its head stands the unit of each column."""
    units: list[str] = []
    for row in rows:
        if not row[0].strip('"').isdigit():
            if units:
                return
            units = row
            continue
        cells = dict(zip(names, row, strict=False))
        unit_of = dict(zip(names, units, strict=False))
        metrics: dict[str, tuple[float | str, str]] = {}
        for name, value in cells.items():
            if "__" in name and value:
                exact = number(value)
                metrics[name] = (value if exact is None else exact, unit_of.get(name, ""))
        yield Kernel(cells, metrics, [])


def number(printed: str) -> float | None:
    """Return a number as it is printed, with commas between thousands, or None."""
    try:
        return float(printed.replace(",", ""))
    except ValueError:
        return None


def finish(label: str, kernels: Iterable[Kernel]) -> Iterator[KernelProfile]:
    """Make the profiles."""
    for place, kernel in enumerate(kernels):
        cells = kernel.cells
        own = int(cells["ID"]) if cells.get("ID", "").isdecimal() and len(cells["ID"]) < 10 else place  # noqa: PLR2004
        profile = make_profile(label, own, cells.get("Kernel Name", ""), kernel.metrics, map(make_rule, kernel.rules))
        yield profile._replace(
            grid=profile.grid or shape(cells.get("Grid Size", "")),
            block=profile.block or shape(cells.get("Block Size", "")),
            device=int(cells["Device"]) if cells.get("Device", "").isdecimal() and len(cells["Device"]) < 10 else None,  # noqa: PLR2004
            compute_capability=profile.compute_capability or cells.get("CC", ""),
        )


def shape(printed: str) -> tuple[int, int, int] | None:
    """Return three dimensions as they are printed, ``(256, 1, 1)``, or None."""
    found = [int(part[:18]) for part in NUMBERS.findall(printed)]
    return (found[0], found[1], found[2]) if len(found) == 3 else None  # noqa: PLR2004
