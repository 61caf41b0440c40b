"""The page in a real browser, from a file, at the widths of a phone and a desk."""

import shutil
from itertools import pairwise

import pytest

from crossmodal.report import write_report

WIDTHS = {"phone": (390, 844), "desk": (1440, 900)}
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no chromium on PATH (apt-get install chromium): the page is not looked at in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=[*QUIET, "--no-first-run"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=WIDTHS)
def page(request, browser, drawn, tmp_path_factory):
    out = write_report(drawn, tmp_path_factory.mktemp("page") / "report.html")
    width, height = WIDTHS[request.param]
    context = browser.new_context(viewport={"width": width, "height": height}, offline=True)
    page = context.new_page()
    page.said, page.asked = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda error: page.said.append(str(error)))
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(out.as_uri())
    yield page
    context.close()


def test_no_error_and_no_request(page):
    assert page.said == []
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []


def test_nothing_overflows(page):
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    wide = page.evaluate(
        """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.matches('.skip'))
           .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []


def test_question_answer_and_origin_are_on_the_first_screen(page):
    for selector in (".banner", "h1", ".verdict", ".regions", ".facts"):
        box = page.locator(selector).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= page.viewport_size["height"], (selector, box)


def test_pictures_load_and_have_words(page):
    images = page.evaluate("[...document.images].map(i => [i.alt.length, i.naturalWidth, i.complete])")
    assert len(images) == 9 and all(words > 20 and width > 0 and done for words, width, done in images)


def test_the_keyboard_reaches_everything(page):
    reachable = page.locator("a[href], button, summary, [tabindex='0']").count()
    page.evaluate("document.activeElement.blur()")
    mark = "document.activeElement.dataset.seen = (+document.activeElement.dataset.seen || 0) + 1"
    order, seen = [], set()
    for _ in range(reachable):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.textContent.trim()"))
        seen.add(page.evaluate(mark))
    assert order[0] == "Skip to the results"
    assert seen == {1}, "each is reached once"
    assert page.locator("[data-seen]").count() == reachable
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none", "the focus can be seen"


def test_a_heading_sorts_by_number_and_back(page):
    table = page.locator("#table-dice")
    heading = table.locator("th button", has_text="WT")
    column = heading.evaluate("b => b.parentElement.cellIndex")
    cells = f"[...document.querySelectorAll('#table-dice tbody tr')].map(r => +r.cells[{column}].dataset.sort)"
    heading.focus()
    page.keyboard.press("Enter")
    rising = page.evaluate(cells)
    assert rising == sorted(rising) and len(set(rising)) > 2
    assert heading.evaluate("b => b.parentElement.ariaSort") == "ascending"
    heading.click()
    assert page.evaluate(cells) == sorted(rising, reverse=True)
    assert table.locator("th[aria-sort]").count() == 1


def test_headings_and_landmarks_are_in_order(page):
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))
    assert page.locator("main").count() == 1 and page.evaluate("document.documentElement.lang") == "en"
