"""What an Nsight Systems file says beside its events: when and how it was recorded, on what, and as which rank."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from perfkit.model.columns import MISSING_INT, MISSING_SMALL
from perfkit.model.trace import Device

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from perfkit.ingest.database import Database
    from perfkit.ingest.defects import DefectList

__all__ = ["Session", "note_missing_activity", "read_session", "read_thread_names"]

_VARIABLE: Final = re.compile(r'([A-Za-z_]\w*)=(?:"(.*)"|(.*))\Z', re.DOTALL)

_RANK_VARIABLES: Final = (
    "RANK",
    "OMPI_COMM_WORLD_RANK",
    "PMI_RANK",
    "PMIX_RANK",
    "SLURM_PROCID",
    "MV2_COMM_WORLD_RANK",
)
_SIZE_VARIABLES: Final = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "MV2_COMM_WORLD_SIZE")

_WARNING, _ERROR = 2, 3

_NOISE: Final = re.compile(r"OpenGL|Vulkan|NVTX|Wayland|DirectX|kernel IP samples|(Profiling|Process) (has|was) ")
"""Warnings about what nobody looks for in a trace of this kind, and news that are none."""

_PROPERTIES: Final = {
    "totalMemory": "totalGlobalMem",
    "smCount": "numSms",
    "computeMajor": "computeMajor",
    "computeMinor": "computeMinor",
    "memoryBandwidth": "memoryBandwidth",
    "clockRate": "clockRate",
    "l2CacheSize": "l2CacheSize",
}
"""Columns of a GPU to the names that Kineto has for them, or their own."""

_DIAGNOSTICS_SHOWN: Final = 3


class Session(NamedTuple):
    """The circumstances of a recording; ``epoch_ns`` is the Unix time of its time 0, or 0 where it does not say."""

    values: Mapping[str, Any]
    devices: tuple[Device, ...]
    rank: int | None
    world_size: int | None
    epoch_ns: int


def read_session(database: Database, defects: DefectList) -> Session:
    """Read the tables that describe a recording; what the profiler itself complains of becomes a defect."""
    values: dict[str, Any] = {}
    for table in ("META_DATA_EXPORT", "META_DATA_CAPTURE", "EXPORT_META_DATA"):
        values |= _pairs(database, table)
    environment = _environment(_texts(database, "META_DATA_CAPTURE", "value"))
    start = database.read("TARGET_INFO_SESSION_START_TIME", ("utcEpochNs",))["utcEpochNs"]
    epoch_ns = int(start[0]) if len(start) and start[0] != MISSING_INT else 0
    _repeat_diagnostics(database, defects)
    return Session(
        values,
        _devices(database),
        _first_count(environment, _RANK_VARIABLES),
        _first_count(environment, _SIZE_VARIABLES),
        epoch_ns,
    )


def read_thread_names(database: Database, texts: Mapping[int, str]) -> dict[int, str]:
    """Return the names of host threads by global id, from the string table."""
    found: dict[int, str] = {}
    table = database.read("ThreadNames", ("globalTid", "nameId"))
    for global_id, name in zip(table["globalTid"].tolist(), table["nameId"].tolist(), strict=True):
        if text := texts.get(name):
            found.setdefault(global_id, text)
    return found


def note_missing_activity(session: Session, defects: DefectList) -> None:
    """Say that a recording holds no work of a device, and what its settings have to do with it."""
    traced = [value for name, value in session.values.items() if name.endswith(":COLLECT_CUDA_TRACE")]
    why = (
        "CUDA was not traced" if traced and all(value == "false" for value in traced) else "none ran, or none was seen"
    )
    defects.add("no_gpu_activity", detail=f"{why}; record with `nsys profile --trace=cuda,nvtx,osrt`")


def _pairs(database: Database, table: str) -> dict[str, str]:
    """Return a table of names and values; of a name that occurs again the last value."""
    columns = database.read(table, (), ("name", "value"))
    strings = database.strings
    return {
        _text(strings, name): _text(strings, value)
        for name, value in zip(columns["name"].tolist(), columns["value"].tolist(), strict=True)
        if name != MISSING_SMALL
    }


def _texts(database: Database, table: str, column: str) -> list[str]:
    numbers = database.read(table, (), (column,))[column].tolist()
    strings = database.strings
    return [_text(strings, number) for number in numbers]


def _text(strings: list[bytes], number: int) -> str:
    return strings[number].decode("utf-8", "replace") if number >= 0 else ""


def _environment(values: Iterable[str]) -> dict[str, str]:
    """Return the environment of the first process that was launched; its variables are values ``NAME="text"``."""
    found: dict[str, str] = {}
    for value in values:
        if match := _VARIABLE.match(value):
            found.setdefault(match[1], match[2] if match[2] is not None else match[3])
    return found


def _first_count(environment: Mapping[str, str], names: Iterable[str]) -> int | None:
    for name in names:
        value = environment.get(name, "")
        if re.fullmatch(r"\d{1,6}", value):
            return int(value)
    return None


def _devices(database: Database) -> tuple[Device, ...]:
    """Return the GPUs by the number that CUDA gives them, which is what activities bear."""
    numbers = database.read("TARGET_INFO_GPU", ("id", "cuDevice", *_PROPERTIES), ("name", "uuid"))
    strings = database.strings
    ordinal = _cuda_ordinals(database)
    found: dict[int, Device] = {}
    for place in range(len(numbers["id"])):
        gpu, device = int(numbers["id"][place]), int(numbers["cuDevice"][place])
        index = ordinal.get(gpu, device if device != MISSING_INT else gpu)
        if not 0 <= index < 2**31:
            continue
        properties = {
            name: int(numbers[column][place])
            for column, name in _PROPERTIES.items()
            if numbers[column][place] != MISSING_INT
        }
        name, uuid = (_text(strings, int(numbers[column][place])) for column in ("name", "uuid"))
        found.setdefault(index, Device(index, name, uuid, properties))
    return tuple(found[index] for index in sorted(found))


def _cuda_ordinals(database: Database) -> dict[int, int]:
    """Return the CUDA number of each GPU, where all processes agree on it."""
    table = database.read("TARGET_INFO_CUDA_DEVICE", ("gpuId", "cudaId"))
    pairs = set(zip(table["gpuId"].tolist(), table["cudaId"].tolist(), strict=True))
    ordinals = dict(pairs)
    return ordinals if len(ordinals) == len(pairs) == len(set(ordinals.values())) else {}


def _repeat_diagnostics(database: Database, defects: DefectList) -> None:
    table = database.read("DIAGNOSTIC_EVENT", ("severity", "globalPid"), ("text",))
    strings = database.strings
    said = []
    for severity, number in zip(table["severity"].tolist(), table["text"].tolist(), strict=True):
        text = " ".join(_text(strings, number).split())
        if severity in (_WARNING, _ERROR) and text and not (severity == _WARNING and _NOISE.search(text)):
            said.append(text[:240])
    shown = list(dict.fromkeys(said))
    more = f"; and {len(shown) - _DIAGNOSTICS_SHOWN} more" if len(shown) > _DIAGNOSTICS_SHOWN else ""
    defects.add("profiler_diagnostic", len(said), detail="; ".join(shown[:_DIAGNOSTICS_SHOWN]) + more)
