"""The formats that are read, each told by how its content begins; its reader is imported only when it is met."""

from __future__ import annotations

import importlib
import re
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perfkit.ingest.source import Content
    from perfkit.model.columns import Column
    from perfkit.model.kernel_profile import KernelReport
    from perfkit.model.trace import Trace

__all__ = ["FORMATS", "FORMATS_READ", "NSIGHT_REPORT", "Format", "KernelReader", "TraceReader", "format_of"]


class TraceReader(Protocol):
    """What the module of a format of timelines offers as ``read_trace``."""

    def __call__(
        self, content: Content, columns: Sequence[Column], progress: Callable[[int, int | None], None] | None
    ) -> Trace:
        """Read a trace to its end.

        Args:
            content: The opened file, its head already read.
            columns: What to read; a format fills those that it knows, and leaves out or marks as absent the others.
            progress: Called with the bytes read so far and in total (or None), some ten times a second.

        Raises:
            UnknownFormatError: It is not what its head promised.
            UnreadableTraceError: Nothing of it can be read.
        """


class KernelReader(Protocol):
    """What the module of a format of measured kernels, without a timeline, offers as ``read_kernels``."""

    def __call__(self, content: Content, progress: Callable[[int, int | None], None] | None) -> KernelReport:
        """Read a report to its end.

        Args:
            content: The opened file, its head already read.
            progress: Called with the bytes read so far and in total (or None), some ten times a second.

        Raises:
            MissingExtraError: A package that reads it is not installed.
            UnknownFormatError: It is not what its head promised.
            UnreadableTraceError: Nothing of it can be read.
        """


class Format(NamedTuple):
    """One format: ``head`` is a regular expression that matches the first bytes of the decompressed content.

    ``title`` is what messages call it; formats of one title are one to the reader of a message.
    """

    name: str
    holds: Literal["timeline", "kernels"]
    head: bytes
    module: str
    title: str

    def begins(self, head: bytes) -> bool:
        """Tell whether content that begins with ``head`` is of this format."""
        return re.match(self.head, head, re.DOTALL) is not None

    def trace_reader(self) -> TraceReader:
        """Import the reader of a format that holds a timeline."""
        reader: TraceReader = importlib.import_module(self.module).read_trace
        return reader

    def kernel_reader(self) -> KernelReader:
        """Import the reader of a format that holds kernels."""
        reader: KernelReader = importlib.import_module(self.module).read_kernels
        return reader


_JSON: Final = rb"(?:\xef\xbb\xbf)?\s*"

# A key, wherever it is, but not within a string: there, the quotes of one would follow a backslash.
_NEAR: Final = rb".{0,65536}?(?<!\\)"
_LIST: Final = _JSON + rb"\[\s*\{"
_ONNX_EVENT: Final = rb"\"cat\"\s*:\s*\"(?:Session|Node)\""
_NSIGHT_EVENT: Final = rb"\"cat\"\s*:\s*\"(?:cuda(?:_api|_memcpy)?|nvtx(?:-kernel)?)\""

# Records that are no events, by the keys of the first of them.
_FIRST_RECORD: Final = _LIST + rb"[^{}]{0,65536}?"
_TRT_TIMES: Final = _FIRST_RECORD + rb"\"start(?:Enq|H2d|In|Compute)Ms\"\s*:"
_TRT_PROFILE: Final = _LIST + rb"\s*\"count\"\s*:\s*\d+\s*\}\s*(?:\]|,\s*\{\s*\"name\"[^{}]{0,65536}?\"timeMs\"\s*:)"
_TRITON_RECORD: Final = _FIRST_RECORD + (
    rb"\"(?:timestamps\"\s*:\s*\[\s*(?:\]|\{[^{}]*\"ns\"\s*:)|activity\"\s*:\s*\"TENSOR_|model_version\"\s*:)"
)
_ROCPROF: Final = _JSON + rb"\{\s*\"rocprofiler-sdk-tool\"\s*:"

# Not JSON: an object, or a list that begins with an object. What a program printed may come before the table of a log.
_LOG: Final = rb"(?!\s*(?:\{|\[\s*[{\]]))"
_NSIGHT: Final = "Nsight Systems"
_NSIGHT_COMPUTE: Final = "Nsight Compute"

FORMATS: Final = (
    Format("nsight-compute", "kernels", rb"NVR\0", "perfkit.ingest.nsight_compute", _NSIGHT_COMPUTE),
    Format(
        "nsight-compute-csv",
        "kernels",
        _LOG + rb"(?:.*?\n)??(?:\xef\xbb\xbf)?\"?(?:ID|Process ID)\"?[,;\t][^\n]*?\bKernel Name\b",
        "perfkit.ingest.nsight_compute_csv",
        _NSIGHT_COMPUTE,
    ),
    Format("nsight-systems", "timeline", rb"SQLite format 3\0", "perfkit.ingest.nsight_systems", _NSIGHT),
    Format("onnxruntime", "timeline", _LIST + _NEAR + _ONNX_EVENT, "perfkit.ingest.onnx_runtime", "ONNX Runtime"),
    Format("nsight-systems-json", "timeline", _LIST + _NEAR + _NSIGHT_EVENT, "perfkit.ingest.nsight_json", _NSIGHT),
    Format("rocprofv3", "timeline", _ROCPROF, "perfkit.ingest.rocprof", "rocprofv3"),
    Format("triton-server", "timeline", _TRITON_RECORD, "perfkit.ingest.triton_server", "Triton Inference Server"),
    Format("trtexec", "timeline", _TRT_TIMES, "perfkit.ingest.tensorrt", "trtexec"),
    Format("trtexec-profile", "timeline", _TRT_PROFILE, "perfkit.ingest.tensorrt", "trtexec"),
    Format("torch-profiler", "timeline", _JSON + rb"[\[{]", "perfkit.ingest.torch_profiler", "PyTorch Profiler"),
)
"""The formats that content tells; the first match wins, so the general ones come last."""

NSIGHT_REPORT: Final = Format("nsight-report", "timeline", b"", "perfkit.ingest.nsight_report", _NSIGHT)
"""What Nsight Systems itself writes. Nobody says how it begins: a name tells it, of content that is nothing else."""


def _listed(holds: Literal["timeline", "kernels"]) -> str:
    """Name the formats of one kind in words."""
    *most, last = dict.fromkeys(known.title for known in reversed(FORMATS) if known.holds == holds)
    return f"{', '.join(most)} and {last}" if most else last


FORMATS_READ: Final = (
    f"perfkit reads traces of {_listed('timeline')}, and kernels of {_listed('kernels')}, "
    "plain or compressed with gzip or zstd"
)
"""What is read, as messages say it."""


def format_of(head: bytes) -> Format | None:
    """Return the format of content that begins with ``head``, or None if none of them does."""
    return next((known for known in FORMATS if known.begins(head)), None)
