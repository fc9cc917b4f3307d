"""The flame graphs of a Picture as a pprof profile: gzipped protobuf, with time of devices and of host threads.

The format: https://github.com/google/pprof/blob/main/proto/profile.proto; the fields that are written are listed below.
"""

from __future__ import annotations

import functools
import gzip
import re
from typing import TYPE_CHECKING, Any, Final

from perfkit.errors import MissingExtraError
from perfkit.report.export.speedscope import stacks

if TYPE_CHECKING:
    from perfkit.model.picture import Picture

__all__ = ["draw", "message_class"]

MEASURES: Final = ("device", "host")
LINE: Final = re.compile(r"^(?P<file>.+)\((?P<line>\d{1,9})\): (?P<function>.+)$")

MESSAGES: Final[dict[str, tuple[tuple[int, str, str, bool], ...]]] = {
    "ValueType": ((1, "type", "int64", False), (2, "unit", "int64", False)),
    "Sample": ((1, "location_id", "uint64", True), (2, "value", "int64", True)),
    "Line": ((1, "function_id", "uint64", False), (2, "line", "int64", False)),
    "Location": ((1, "id", "uint64", False), (4, "line", "Line", True)),
    "Function": (
        (1, "id", "uint64", False),
        (2, "name", "int64", False),
        (3, "system_name", "int64", False),
        (4, "filename", "int64", False),
        (5, "start_line", "int64", False),
    ),
    "Profile": (
        (1, "sample_type", "ValueType", True),
        (2, "sample", "Sample", True),
        (4, "location", "Location", True),
        (5, "function", "Function", True),
        (6, "string_table", "string", True),
        (10, "duration_nanos", "int64", False),
        (13, "comment", "int64", True),
        (14, "default_sample_type", "int64", False),
    ),
}
"""Number, name and type of the fields, and whether they are repeated."""


@functools.cache
def message_class() -> Any:
    """Return the class of a profile.

    Raises:
        MissingExtraError: protobuf is not installed.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise MissingExtraError("writing for pprof", "pprof") from error

    file = descriptor_pb2.FileDescriptorProto(
        name="perfkit/profile.proto", package="perftools.profiles", syntax="proto3"
    )
    of_type = {
        "int64": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
        "uint64": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
        "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    }
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind, repeated in fields:
            described = message.field.add(name=field, number=number, label=3 if repeated else 1)
            if kind in of_type:
                described.type = of_type[kind]
            else:
                described.type = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
                described.type_name = f".perftools.profiles.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("perftools.profiles.Profile"))


def draw(picture: Picture, title: str) -> bytes:
    """Return the profile: by line of Python where the trace has stacks, else by module.

    Args:
        picture: What to write.
        title: What it is of.

    Raises:
        MissingExtraError: protobuf is not installed.
    """
    profile = message_class()()
    texts: dict[str, int] = {"": 0}

    def text(value: str) -> int:
        return texts.setdefault(value, len(texts))

    for measure in MEASURES:
        profile.sample_type.add(type=text(measure), unit=text("nanoseconds"))
    by = "line" if any(flame.by == "line" for flame in picture.flames) else "module"
    flames = [flame for flame in picture.flames if flame.by == by]
    locations: dict[int, int] = {}
    for flame in flames:
        for stack, ns in stacks(flame):
            ids = [locations.setdefault(name, len(locations) + 1) for name in reversed(stack)]
            profile.sample.add(location_id=ids, value=[ns if flame.measure == measure else 0 for measure in MEASURES])
    for name, number in locations.items():
        place = LINE.match(picture.names[name])
        function, file = (place["function"], place["file"]) if place else (picture.names[name], "")
        line = int(place["line"]) if place else 0
        profile.function.add(
            id=number, name=text(function), system_name=text(picture.names[name]), filename=text(file), start_line=line
        )
        profile.location.add(id=number).line.add(function_id=number, line=line)
    profile.duration_nanos = picture.end_ns - picture.start_ns
    profile.comment.append(text(title))
    profile.default_sample_type = text(flames[0].measure if flames else MEASURES[0])
    profile.string_table.extend(value.encode("utf-8", "replace").decode() for value in texts)
    return gzip.compress(profile.SerializeToString(), mtime=0)
