from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from perfkit.report import markdown
from perfkit.report.pen import plain
from tests.diagnoses import HOSTILE, diagnosis, empty, host_only, hostile, loader_bound, two_devices
from tests.diagnoses import attribution as attribution_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from markdown_it.token import Token

    from perfkit.model.diagnosis import Diagnosis

    Make = Callable[[], Diagnosis]

DIAGNOSES = [loader_bound, two_devices, host_only, empty, hostile]
OURS = {"<details><summary>", "</details>"}


def parse(text: str) -> Iterator[Token]:
    """Every token of a Markdown text, nested ones included."""
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text):
        yield token
        yield from token.children or ()


@pytest.mark.parametrize("source", DIAGNOSES)
def test_names_are_text_and_nothing_else(source: Make) -> None:
    for token in parse(markdown.draw(source())):
        assert token.type not in {"link_open", "image", "html_inline", "fence", "code_block", "s_open"}
        if token.type == "html_block":
            assert any(token.content.startswith(tag) for tag in OURS)
            assert token.content.count("<") in {1, 3}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("in_table", [False, True])
def test_a_code_span_holds_exactly_its_name(name: str, in_table: bool) -> None:
    span = markdown.code(name, in_table=in_table)
    text = f"| a |\n| --- |\n| {span} |" if in_table else span
    (token,) = [token for token in parse(text) if token.type == "code_inline"]
    shown = plain(name) or "(no name)"
    expected = shown if len(shown) <= markdown.LONGEST_NAME else shown[: markdown.LONGEST_NAME - 3] + "..."
    assert token.content.strip(" ") == expected.strip(" ")


@pytest.mark.parametrize("name", HOSTILE)
def test_prose_is_read_as_it_was_written(name: str) -> None:
    inner = name.replace("`", "'")
    tokens = [token for token in parse(markdown.prose(f"in `{inner or 'x'}` and {inner}")) if not token.children]
    kinds = {token.type for token in tokens} - {"paragraph_open", "paragraph_close"}
    assert kinds <= {"text", "code_inline", "text_special"}


def test_nobody_is_mentioned() -> None:
    assert "@everyone" not in markdown.prose("@everyone #1")
    assert markdown.prose("`@everyone`") == "`@everyone`"


def test_a_backtick_without_its_twin_is_a_character() -> None:
    assert markdown.prose("a ` b") == "a ' b"
    assert markdown.prose("`a` ` b") == "`a` ' b"


def test_tables_have_as_many_cells_in_each_row() -> None:
    for source in DIAGNOSES:
        cells = rows = 0
        for token in parse(markdown.draw(source())):
            if token.type == "thead_open":
                cells = 0
            cells += token.type == "th_open"
            if token.type == "tr_open":
                rows = 0
            rows += token.type in {"td_open", "th_open"}
            if token.type == "tr_close":
                assert rows == cells


@pytest.mark.parametrize("top", [None, 1, 5, 10**6])
def test_it_fits_a_comment(top: int | None) -> None:
    long = hostile()
    kernels = long.attribution.kernels * 200
    many = diagnosis(
        attribution_of(*long.attribution.timelines, kernels=kernels, operators=long.attribution.operators * 50)
    )
    text = markdown.draw(many, top=top)
    assert len(text) <= markdown.MOST_CHARACTERS
    assert text.count("<details>") == text.count("</details>")


def test_everything_is_in_it() -> None:
    text = markdown.draw(loader_bound())
    for part in (
        "**The GPU waits for data 30 % of each step and computes 50 %.**",
        "| waiting for data | 30.0 % | 60.0 ms | ██████ |",
        "1. **The data loader works in the training process** (PK103) at `train.py(41): <module>`",
        "| `Memcpy HtoD (Pageable -> Device)` | 10 | 30.0 ms | 193 MB | 6.42 GB/s |",
        "| `allreduce` | 5 | 60.0 ms | 102 MB |",
        "- `perfkit explain PK103`: what it means, and how to repair it.",
        "(12 times, first at byte 4,096)",
    ):
        assert part in text
