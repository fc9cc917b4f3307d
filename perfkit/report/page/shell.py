"""What every page has: its template, style and scripts in one text, and a policy under which nothing else may run."""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

import perfkit
from perfkit.model.quantity import duration, percent
from perfkit.report.labels import kind_label
from perfkit.report.palette import COLOURS, colour
from perfkit.report.pen import SPACE_IN_QUANTITY, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LONGEST_NAME", "clean", "render", "shorten"]

ASSETS: Final = Path(__file__).with_name("assets")
LONGEST_NAME: Final = 240
"""Names of kernels can be thousands of characters long; the middle of such a one tells least."""
ALLOWED: Final = "default-src 'none'; base-uri 'none'; form-action 'none'"


def render(template: str, scripts: tuple[str, ...], data: Mapping[str, Any], **context: Any) -> str:
    """Return a page.

    Args:
        template: Name of the template among the assets.
        scripts: Names of the scripts among the assets, in order; the chart library comes before them.
        data: What the scripts read; texts in it are clean already.
        context: What the template reads; whatever is not Markup is escaped.
    """
    style = asset("page.css").replace("/* colours */", colours())
    library = asset("d3.min.js")
    script = "\n".join(asset(name) for name in scripts)
    policy = f"{ALLOWED}; style-src {digest(style)}; script-src {digest(library)} {digest(script)}"
    return (
        environment()
        .get_template(template)
        .render(
            version=perfkit.__version__,
            policy=policy,
            style=Markup(style),
            library=Markup(library),
            script=Markup(script),
            data=embed(data),
            **context,
        )
    )


@functools.cache
def environment() -> Environment:
    """Return the templates' environment: everything is escaped, and a misspelt name is an error."""
    found = Environment(
        loader=FileSystemLoader(ASSETS),
        autoescape=True,
        finalize=printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(
        clean=clean,
        kind=lambda name: f"k-{name if name in COLOURS else 'other'}",
        duration=duration,
        marked=marked,
        share=share,
        percent=percent,
        number=lambda value: f"{value:,}",
    )
    return found


def printable(value: object) -> object:
    """Return what a template is about to write, without control characters and their like."""
    return plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@functools.cache
def asset(name: str) -> str:
    """Return the text of a file of the page's own; no end of an element may be in it."""
    text = (ASSETS / name).read_text(encoding="utf-8")
    if "</" in text and name != "page.css" and "</script" in text.lower():
        message = f"{name} would end the element that it is in"
        raise ValueError(message)
    return text


def colours() -> str:
    """Return a rule of style for each colour: ``k-`` and its name fills, and is the ground of a swatch."""
    return "\n".join(
        f".k-{name} {{ fill: {colour(name)}; background-color: {colour(name)}; }}" for name in (*COLOURS, "other")
    )


def digest(text: str) -> str:
    """Return the source expression that allows exactly this text."""
    found = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(found).decode()}'"


def embed(data: Mapping[str, Any]) -> Markup:
    """Return data as JSON that can stand in a script element: no ``<`` is in it that could end it."""
    shared = {"colours": dict(COLOURS), "labels": {name: kind_label(name) for name in COLOURS}}
    text = json.dumps({**shared, **data}, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def clean(text: str) -> str:
    """Return a name of the trace that is safe to be shown: no control characters, escapes, or lone surrogates."""
    return shorten(plain(text))


def shorten(text: str, longest: int = LONGEST_NAME) -> str:
    """Return a text with its middle left out if it is long."""
    if len(text) <= longest:
        return text
    tail = longest // 3
    return f"{text[: longest - tail - 1]}…{text[-tail:]}"


def marked(sentence: str) -> Markup:
    """Return a sentence in which names stand between backticks, with these as code."""
    parts = SPACE_IN_QUANTITY.sub("\u00a0", plain(sentence)).split("`")
    if len(parts) % 2 == 0:  # one is not closed
        return escape("`".join(parts))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts)
    )


def share(part: float, whole: float) -> str:
    """Return a share as the width of a bar, of 100."""
    return f"{100 * part / whole:.3f}" if whole else "0"
