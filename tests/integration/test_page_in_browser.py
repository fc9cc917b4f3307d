"""The page as people use it: in a browser, by mouse and by keyboard, light and dark, wide and narrow."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from perfkit.pipeline.diagnose import diagnose
from perfkit.pipeline.fleet import Means
from perfkit.report.page import diagnosis as page_report
from perfkit.report.page import difference as difference_page
from tests import diagnoses, differences
from tests.integration.shared import TRACES, needs_shared
from tests.simulator import ranks
from tests.unit.attribute.hand_made import MS, launched, loader, mark, operator, stack, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

    Open = Callable[..., Page]

CHROMIUM = next(
    filter(
        None,
        (os.environ.get("PERFKIT_CHROMIUM"), *map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
    ),
    None,
)
SAMPLE = Path(__file__).parents[2] / "traces" / "loader_bound_cpu.json.gz"

CONTRAST = """() => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const ground = (node) => getComputedStyle(node).backgroundColor;
    const low = [];
    for (const node of document.querySelectorAll('main *, header *')) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!own || node.closest('svg') || !node.getClientRects().length) continue;
        let under = node;
        while (under.parentElement && /, 0\\)$|transparent/.test(ground(under))) under = under.parentElement;
        const [a, b] = [getComputedStyle(node).color, ground(under)].map((text) => luminance(parse(text)) + 0.05);
        const ratio = Math.max(a, b) / Math.min(a, b);
        if (ratio < 4.5) low.push(`${node.tagName} ${node.className} ${node.textContent.slice(0, 30)} ${ratio}`);
    }
    return low;
}"""
"""Finds texts of too little contrast with what they stand on."""

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    # Playwright closes the pipes of its driver when the interpreter ends, not before.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open a page, and afterwards make sure that nothing went wrong in it and nothing was asked for."""
    wrong: list[str] = []
    pages: list[Page] = []

    def visit(text: str, *, width: int = 1280, scheme: Any = "light") -> Page:
        file = tmp_path / "report.html"
        file.write_text(text, encoding="utf-8")
        shown = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        shown.on("console", lambda message: wrong.append(message.text))
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        shown.on("request", lambda request: None if request.url == file.as_uri() else wrong.append(request.url))
        shown.goto(file.as_uri())
        pages.append(shown)
        return shown

    yield visit
    for shown in pages:
        shown.close()
    assert wrong == []


@pytest.fixture(scope="module")
def sample() -> str:
    return page_report.draw(diagnose(SAMPLE, picture=True))


def domain(page: Page) -> tuple[float, float]:
    start, end = page.evaluate("TIMELINE.domain()")
    return start, end


def painted(page: Page) -> int:
    """How many pixels of the timeline are not empty."""
    found: int = page.evaluate(
        """async () => {
            await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            const canvas = document.querySelector('#scene canvas');
            const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            let count = 0;
            for (let i = 3; i < pixels.length; i += 4) if (pixels[i]) count++;
            return count;
        }"""
    )
    return found


def test_the_timeline_zooms_by_button_wheel_drag_and_overview(visit: Open, sample: str) -> None:
    page = visit(sample)
    whole = domain(page)
    assert painted(page) > 10_000
    page.click("[data-do=in]")
    zoomed = domain(page)
    assert zoomed[1] - zoomed[0] < 0.6 * (whole[1] - whole[0])
    canvas = page.locator("#scene canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + 600, box["y"] + 40)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    closer = domain(page)
    assert closer[1] - closer[0] < zoomed[1] - zoomed[0]
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 40, steps=4)
    page.mouse.up()
    assert domain(page)[0] > closer[0]
    page.click("[data-do=all]")
    assert domain(page) == pytest.approx(whole)
    overview = page.locator("#overview").bounding_box()
    assert overview
    page.click("[data-do=in]")
    before = domain(page)
    page.mouse.move(overview["x"] + overview["width"] / 2, overview["y"] + 15)
    page.mouse.down()
    page.mouse.move(overview["x"] + overview["width"] / 2 + 60, overview["y"] + 15, steps=4)
    page.mouse.up()
    assert domain(page)[0] > before[0]


def test_the_timeline_is_used_by_keyboard(visit: Open, sample: str) -> None:
    page = visit(sample)
    whole = domain(page)
    page.focus("#scene")
    page.keyboard.press("+")
    zoomed = domain(page)
    assert zoomed[1] - zoomed[0] < whole[1] - whole[0]
    page.keyboard.press("ArrowRight")
    assert domain(page)[0] > zoomed[0]
    page.keyboard.press("n")
    evidence = page.inner_text("#details")
    assert evidence.startswith("waiting for data")
    page.keyboard.press("]")
    assert page.inner_text("#details") != evidence
    page.keyboard.press("[")
    assert page.inner_text("#details") == evidence
    page.keyboard.press("ArrowDown")
    assert page.inner_text("#details").endswith("(python)")  # the thread below
    page.keyboard.press("0")
    assert domain(page) == pytest.approx(whole)


def test_a_finding_shows_its_evidence(visit: Open, sample: str) -> None:
    page = visit(sample)
    whole = domain(page)
    page.locator("button.show").first.click()
    shown = domain(page)
    assert shown[1] - shown[0] < whole[1] - whole[0]
    assert "waiting for data" in page.inner_text("#details")
    assert page.inner_text("#found").startswith(("1 of ", "2 of ", "3 of ", "4 of "))


def test_the_timeline_of_many_ranks_shows_who_waits(visit: Open, tmp_path: Path) -> None:
    folder = tmp_path / "ranks"
    folder.mkdir()
    ranks.run(ranks.Job(ranks=4, steps=4, slow=(ranks.Slow(2, "compute", 900_000),))).write(folder)
    page = visit(page_report.draw(diagnose(folder, picture=True, means=Means(cache=False))))
    assert [f"rank {rank}" for rank in range(4)] == page.locator("#scene .row:not(.head)").all_inner_texts()
    assert "waiting for ranks" in page.inner_text("#legend")
    page.locator("button.show").first.click()
    assert page.inner_text("#details").endswith("rank 2")
    page.keyboard.press("ArrowUp")
    assert page.inner_text("#details").endswith("waiting for ranks · rank 1")
    assert painted(page) > 5000


def test_a_finding_on_operators_marks_its_kernels_and_its_line(visit: Open) -> None:
    """One of two layers of the same kernels is a chain: the other's are not marked."""
    rows = []
    for step in range(4):
        at = step * 20 * MS
        rows += [mark(step, at, at + 20 * MS), stack("net.py(4): norm", at, at + 2 * MS)]
        for place, name in enumerate(("pow", "mean", "rsqrt", "mul", "mul", "mm", "pow")):
            start, number = at + place * 250_000, 10 * step + place + 1
            rows.append(operator(f"aten::{name}", start, start + 200_000))
            begin = at + place * 2 * MS + MS
            rows += launched(number, (start + 1000, start + 9000), (begin, begin + 2 * MS), name=f"{name}_kernel")
    found = diagnose(trace(rows), picture=True)
    page = visit(page_report.draw(found))
    page.select_option(
        "#evidence", label=next(f"{f.rule} {f.title}" for f in found.advice.findings if f.rule == "PK308")
    )
    marked = page.evaluate(
        """[...VIEW.marked.marks].flatMap(
            ([track, some]) => [...some].map((i) => track.role + SCENE.nameOf(track, i)))"""
    )
    assert marked.count("streamrsqrt_kernel") == 3
    assert marked.count("streampow_kernel") == 3
    assert "streammm_kernel" not in marked
    assert marked.count("threadaten::mul") == 6


def test_search_singles_out_and_jumps(visit: Open, sample: str) -> None:
    page = visit(sample)
    whole = domain(page)
    page.fill("#find", "aten::")
    count = int(page.inner_text("#found").split()[0].replace(",", ""))
    assert count > 0
    page.press("#find", "Enter")
    assert "aten::" in page.inner_text("#details")
    assert domain(page)[1] - domain(page)[0] < whole[1] - whole[0]
    page.fill("#find", "no such name")
    assert page.inner_text("#found") == "0 found"


def test_tables_are_sorted_and_searched(visit: Open, sample: str) -> None:
    page = visit(sample)
    panel = page.locator("#panel-operators")
    calls = panel.locator("th button", has_text="Calls")

    def column() -> list[int]:
        cells = panel.locator("tbody tr td:nth-child(4)").all_inner_texts()
        return [int(text.replace(",", "")) for text in cells]

    calls.click()
    assert column() == sorted(column(), reverse=True)
    assert len(set(column())) > 1
    calls.press("Enter")
    assert column() == sorted(column())
    assert panel.locator("th[aria-sort=ascending]").inner_text().startswith("Calls")
    everything = len(column())
    panel.locator(".filter").fill("conv")
    shown = panel.locator("tbody tr:visible")
    assert 0 < shown.count() < everything
    assert all("conv" in text.lower() for text in shown.all_inner_texts())
    assert panel.locator("output").inner_text() == f"{shown.count()} of {everything} rows"
    page.focus("#tab-operators")
    page.keyboard.press("ArrowRight")
    assert not panel.is_visible()


def test_the_flame_graph_zooms_searches_and_is_walked_by_keyboard(visit: Open, sample: str) -> None:
    page = visit(sample)
    frames = page.locator("#flames .frame")
    assert frames.count() > 5
    frames.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    name = page.inner_text("#flame-details")
    page.keyboard.press("Enter")
    assert page.inner_text("#flame-details") == name
    assert page.locator("#flames .outer").count() == 2
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    assert page.locator("#flames .outer").count() == 0
    page.fill("#flame-find", "aten::")
    assert "frames" in page.inner_text("#flame-found")
    assert page.locator("#flames .dim").count() > 0


def test_the_theme_follows_the_system_and_can_be_chosen(visit: Open, sample: str) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    light = visit(sample).evaluate(ground)
    page = visit(sample, scheme="dark")
    dark = page.evaluate(ground)
    assert dark != light
    page.click("#theme")
    assert page.inner_text("#theme") == "Theme: light"
    assert page.evaluate(ground) == light
    page.click("#theme")
    assert page.evaluate(ground) == dark


@pytest.mark.parametrize("width", [1600, 820, 360])
def test_nothing_is_wider_than_the_window(visit: Open, sample: str, width: int) -> None:
    page = visit(sample, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read(visit: Open, sample: str, scheme: str) -> None:
    """The contrast that the Web Content Accessibility Guidelines ask of texts: 4.5."""
    assert visit(sample, scheme=scheme).evaluate(CONTRAST) == []


def test_everything_that_is_used_has_a_name(visit: Open, sample: str) -> None:
    found = visit(sample).evaluate(
        """() => [...document.querySelectorAll('button, input, select, [tabindex]')].filter((node) =>
            !(node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.textContent.trim()
              || (node.labels && node.labels.length))).map((node) => node.outerHTML.slice(0, 100))"""
    )
    assert found == []


def test_hostile_names_are_shown_as_text(visit: Open) -> None:
    script, escape = "<script>alert(1)</script>", "\x1b[31mred\x1b[0m"
    rows = []
    for step in range(5):
        at = step * 10 * MS
        rows += [mark(step, at, at + 10 * MS), loader(at, at + 4 * MS), operator(script, at + 4 * MS, at + 6 * MS)]
        rows += launched(step + 1, (at + 5 * MS, at + 5 * MS + 1000), (at + 5 * MS + 2000, at + 9 * MS), name=escape)
    page = visit(page_report.draw(diagnose(trace(rows), picture=True)))
    assert script in page.inner_text("#panel-operators")
    page.fill("#find", "<script>")
    page.press("#find", "Enter")
    assert script in page.inner_text("#details")
    page.fill("#find", "x1b")
    page.press("#find", "Enter")
    assert "\\x1b[31mred\\x1b[0m" in page.inner_text("#details")
    assert "\x1b" not in page.content()
    labels = page.locator("#flames .frame").evaluate_all("(all) => all.map((one) => one.getAttribute('aria-label'))")
    assert any(label.startswith(script) for label in labels)


@pytest.mark.parametrize("name", ["two_devices", "host_only", "empty", "hostile"])
def test_every_kind_of_diagnosis_opens(visit: Open, name: str) -> None:
    page = visit(page_report.draw(getattr(diagnoses, name)()), scheme="dark")
    assert page.locator("h1").inner_text()


def test_a_difference_opens_with_its_waterfall(visit: Open) -> None:
    page = visit(difference_page.draw(differences.of_hostile_names()), scheme="dark", width=400)
    assert page.locator(".fall rect").count() > 2
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    page.locator("th button", has_text="Change").first.click()
    assert page.locator("th[aria-sort=descending]").count() == 1


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_a_load_can_be_read(visit: Open, width: int, scheme: str) -> None:
    pytest.importorskip("hdrh")
    from tests.loads import load

    page = visit(page_report.draw(diagnoses.loader_bound()._replace(load=load())), width=width, scheme=scheme)
    assert page.locator("#load .chart svg").count() == 2
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(CONTRAST) == []


@needs_shared
@pytest.mark.parametrize(
    "file",
    [
        "tracelens/traces/h100/google_owlv2-large-patch14-ensemble__1016001.json.gz",
        "nsys/nsys-ai/mfu_2gpu_before.sqlite",
        "hta/cpu_only_old/rank-34.json.gz",
        "malformed/empty_events.json",
    ],
)
def test_real_traces_open_and_are_small(visit: Open, file: str) -> None:
    text = page_report.draw(diagnose(TRACES / file, picture=True))
    assert len(text.encode()) < 2_000_000
    page = visit(text, width=900)
    if page.locator("#scene").count():
        assert painted(page) > 5000
