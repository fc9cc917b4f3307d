"""Take the recording machine out of a trace: its name and its folders."""

import re
import sysconfig
from collections.abc import Sequence
from pathlib import Path

WHAT_IS_SCRUBBED = (
    "host_name reads 'recorder', traceName is the file's own name; a path below the repository, site-packages or the "
    "standard library is relative to it, any other absolute path is '<elsewhere>/' and its last part; numbers, layout "
    "and everything else are as the profiler wrote them"
)

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_HOST_NAME = re.compile(r'("host_name":\s*)"(?:[^"\\]|\\.)*"')
_TRACE_NAME = re.compile(r'("traceName":\s*)"(?:[^"\\]|\\.)*"')
# A slash that does not continue a word begins an absolute path. In front of "(line)" it may hold any character;
# elsewhere it ends before one that is rare in paths.
_ABSOLUTE_PATH = re.compile(r"(?<![\w.<>)\]/-])/(?:[^\"\\]+?\.py(?=\(\d+\))|[\w.+@~%=-]+(?:/[\w.+@~%=-]+)*/?)")


def scrub(text: str, trace_name: str, roots: Sequence[Path]) -> str:
    """Return the trace's JSON text without the names of the machine that recorded it.

    Works on the text, not on parsed JSON, so that no number is rounded on the way.

    Args:
        text: what the profiler exported.
        trace_name: the file's new name.
        roots: folders below which a path stays, relative to the folder; the longest that fits counts.
    """
    prefixes = sorted({f"{root.as_posix().rstrip('/')}/" for root in roots}, key=len, reverse=True)

    def relative(match: re.Match[str]) -> str:
        path = match.group()
        for prefix in prefixes:
            if path.startswith(prefix):
                return path.removeprefix(prefix)
        return f"<elsewhere>/{path.rstrip('/').rpartition('/')[2]}"

    text = _HOST_NAME.sub(r'\1"recorder"', text)
    text = _TRACE_NAME.sub(rf'\1"{trace_name}"', text)
    return _STRING.sub(lambda literal: _ABSOLUTE_PATH.sub(relative, literal.group()), text)


def installed_roots() -> list[Path]:
    """Return the folders in which this interpreter finds installed and standard modules."""
    paths = sysconfig.get_paths()
    return [Path(paths[kind]) for kind in ("purelib", "platlib", "stdlib", "platstdlib")]
