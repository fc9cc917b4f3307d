"""Documents that something once got wrong, as short as the fuzzer could make them."""

from __future__ import annotations

FOUND: tuple[bytes, ...] = (
    b'[{"ph":"X","ts":-9223372036854775808}]',
    b'[{"ph":"X","ts":0,"args":{"correlation":18446744073709551616}}]',
    # Calls of two processes and no device: there was no device to settle which process it belongs to.
    b'[{"ph":"X","cat":"cuda_runtime","ts":1,"pid":1},{"ph":"X","cat":"cuda_runtime","ts":5,"pid":4}]',
)
