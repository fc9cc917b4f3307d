"""Documents that a scanner once got wrong, as short as the fuzzer could make them."""

from __future__ import annotations

FOUND: tuple[bytes, ...] = (
    b'[{"ph":"X","ts":-9223372036854775808}]',
    b'[{"ph":"X","ts":0,"args":{"correlation":18446744073709551616}}]',
)
