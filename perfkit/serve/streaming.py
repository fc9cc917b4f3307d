"""Server-sent events of an OpenAI-compatible service: when each piece of the answer came.

Format: the WHATWG HTML standard, section Server-sent events, and the `chat.completion.chunk` of OpenAI's API reference.
"""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["Stream"]

TEXT: Final = ("content", "text", "reasoning_content", "reasoning", "tool_calls")
"""Members of a piece that hold a part of the answer; a piece with the role alone is no token."""


class Stream:
    """Takes the bytes of one answer as they come."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.times: list[int] = []
        self.counted = 0
        self.problem = "answer without a token"
        self.rest = b""
        self.done = False

    def take(self, piece: bytes, now: int) -> None:
        """Take some bytes that came ``now``; events that they complete have come now."""
        lines = (self.rest + piece).split(b"\n")
        self.rest = lines.pop()
        for line in lines:
            if line.startswith(b"data:"):
                self.event(line[5:].strip(), now)
            elif line.strip() and not line.startswith((b":", b"event:", b"id:", b"retry:")) and not self.times:
                self.problem = "answer is no event stream"

    def event(self, data: bytes, now: int) -> None:
        """Take the data of one event."""
        if data == b"[DONE]":
            self.done = True
            return
        try:
            value: Any = json.loads(data)
        except ValueError:
            self.problem = "answer is not JSON"
            return
        if not isinstance(value, dict):
            self.problem = "answer is not JSON of a completion"
            return
        if value.get("error"):
            self.problem = "error within the stream"
            return
        usage = value.get("usage")
        if isinstance(usage, dict) and isinstance(usage.get("completion_tokens"), int):
            self.counted = usage["completion_tokens"]
        choices = value.get("choices")
        if isinstance(choices, list) and any(map(has_text, choices)):
            self.times.append(now)
            self.problem = ""


def has_text(choice: object) -> bool:
    """Tell whether a choice of a piece holds a part of the answer."""
    if not isinstance(choice, dict):
        return False
    delta = choice.get("delta")
    return any(isinstance(part, dict) and any(part.get(key) for key in TEXT) for part in (delta, choice))
