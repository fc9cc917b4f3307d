"""Faults put into documents: cut, flipped, spliced, and with tokens where none should be."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from tests.fuzz.seeds import DOCUMENTS, TIMES, VALUES

_NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
_STRUCTURE = re.compile(rb'[\[\]{}",:\\]')

TOKENS = (
    *VALUES,
    *TIMES,
    *(bytes([code]) for code in b'"\\{}[],:\0\t\n\r \x01\x1f\x7f\x80\xff-+.eE0'),
    b"\\u",
    b"\\ud83d",
    b"\\ude00",
    b"\\U",
    b"\xef\xbb\xbf",
    b'{"ph":',
    b'{ "args" :',
    b'{"traceEvents":[',
    b'"traceEvents" : [',
    b'"args":{',
    b'"ph":"X",',
    b'"ts":1,',
    b'"stream":4294967295,',
    b"]}",
    b"}}",
    b"},",
    b"[" * 70,
    b"]" * 70,
    b" " * 200,
    b"\n" * 33,
    b"x" * 300,
    b"\\" * 65,
    b"9" * 64,
)

Mutation = Callable[[bytes, random.Random], bytes]


def _place(document: bytes, rng: random.Random) -> int:
    """A position: anywhere, or next to something that structures the text."""
    if not document:
        return 0
    start = rng.randrange(len(document))
    match = _STRUCTURE.search(document, start) if rng.random() < 0.6 else None
    return match.start() + rng.randrange(2) if match else start


def _truncate(document: bytes, rng: random.Random) -> bytes:
    return document[: _place(document, rng)]


def _behead(document: bytes, rng: random.Random) -> bytes:
    return document[_place(document, rng) :]


def _flip(document: bytes, rng: random.Random) -> bytes:
    changed = bytearray(document)
    for _ in range(rng.choice((1, 1, 1, 2, 8)) if document else 0):
        at = min(_place(document, rng), len(document) - 1)
        changed[at] = rng.choice((changed[at] ^ 1 << rng.randrange(8), rng.randrange(256)))
    return bytes(changed)


def _delete(document: bytes, rng: random.Random) -> bytes:
    start = _place(document, rng)
    return document[:start] + document[start + rng.choice((1, 1, 2, 5, 30, 400)) :]


def _repeat(document: bytes, rng: random.Random) -> bytes:
    start = _place(document, rng)
    stop = start + rng.choice((1, 2, 10, 100, 1000))
    return document[:stop] + document[start:stop] * rng.choice((1, 1, 3, 20)) + document[stop:]


def _insert(document: bytes, rng: random.Random) -> bytes:
    at = _place(document, rng)
    return document[:at] + rng.choice(TOKENS) + document[at:]


def _replace(document: bytes, rng: random.Random) -> bytes:
    at = _place(document, rng)
    token = rng.choice(TOKENS)
    return document[:at] + token + document[at + rng.choice((1, len(token))) :]


def _blow_up(document: bytes, rng: random.Random) -> bytes:
    numbers = list(_NUMBER.finditer(document))
    if not numbers:
        return document
    number = rng.choice(numbers)
    return document[: number.start()] + rng.choice((*TIMES, *VALUES)) + document[number.end() :]


def _splice(document: bytes, rng: random.Random) -> bytes:
    other = rng.choice(DOCUMENTS)
    at = _place(document, rng)
    return document[:at] + other[_place(other, rng) :] + (document[at:] if rng.random() < 0.7 else b"")


def _move(document: bytes, rng: random.Random) -> bytes:
    start = _place(document, rng)
    stop = start + rng.randrange(1, 200)
    rest = document[:start] + document[stop:]
    at = _place(rest, rng)
    return rest[:at] + document[start:stop] + rest[at:]


MUTATIONS: Sequence[Mutation] = (
    _truncate,
    _behead,
    _flip,
    _flip,
    _delete,
    _delete,
    _repeat,
    _insert,
    _insert,
    _replace,
    _replace,
    _blow_up,
    _splice,
    _move,
)


def mutate(document: bytes, rng: random.Random) -> bytes:
    """The document with a few faults."""
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        document = rng.choice(MUTATIONS)(document, rng)
    return document


def cuts(length: int, rng: random.Random) -> list[int]:
    """Where to cut a document of `length` bytes into pieces: nowhere, anywhere, or between any two bytes."""
    way = rng.random()
    if way < 0.3:
        return []
    if way < 0.4 and length <= 5000:
        return list(range(1, length))
    return sorted(rng.randrange(length + 1) for _ in range(rng.choice((1, 2, 5, 30))))
