"""The page: self-contained, escaped, complete; and in a browser, where there is one."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import pytest

from simclr.report.write import write
from tests.report.constructed import build, grid

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Elements(HTMLParser):
    """Every element with its attributes, and whether all were closed in order."""

    VOID = frozenset({"meta", "link", "img", "source", "input", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html(written):
    return written.page.read_text()


def test_it_opens_with_the_answer(written, html):
    assert html.index(written.answers[0].headline) < html.index("<h1")  # the title of the window
    assert html.index('class="headline"') < html.index("<picture>") < html.index('<table id="groups"')


def test_it_is_whole_and_needs_no_network(html):
    elements = Elements(html)
    assert not elements.open
    assert "default-src 'none'" in html
    for _, attributes in elements.found:
        for name in ("src", "srcset", "href"):
            value = attributes.get(name) or ""
            assert value.startswith(("data:", "#")) or not value
    assert not re.search(r"url\(|@import|https?://", html)


def test_everything_from_files_is_escaped(html):
    assert "&lt;b&gt;out&lt;/b&gt; of memory" in html
    assert "<b>out" not in html


def test_every_cell_has_the_command_that_measures_it_again(written, html):
    for cell in written.findings.cells:
        assert f"--config-dir {cell.folder}" in html
    assert html.count('class="command"') == 15


def test_pictures_have_words_and_both_grounds(html):
    elements = Elements(html).found
    images = [attributes for tag, attributes in elements if tag == "img"]
    assert len(images) == 6
    assert all(attributes["alt"] for attributes in images)
    assert sum(tag == "figcaption" for tag, _ in elements) == 6
    assert sum("dark" in (attributes.get("media") or "") for tag, attributes in elements if tag == "source") == 6


def test_templates_are_installed_with_the_package():
    from importlib.resources import files

    assert (files("simclr.report") / "templates" / "page.html").is_file()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("ground", ["light", "dark"])
def test_in_a_browser_it_fits_and_complains_of_nothing(written, browser, width, ground):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=ground)
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith("http") and complaints.append(request.url))
    page.goto(written.page.resolve().as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(each => each.naturalWidth > 0)")
    assert not complaints
    context.close()


def test_in_a_browser_it_sorts_and_filters_by_keyboard(written, browser):
    page = browser.new_page()
    page.goto(written.page.resolve().as_uri())
    heading = page.locator("#groups thead th", has_text="accuracy")
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.locator("#groups tbody tr").first.locator("th").inner_text() == "none"
    assert page.locator("#cells tbody tr").count() == 15
    page.locator("input[data-filter=cells]").fill("relu_1 s0")
    assert page.locator("#cells tbody tr:visible").count() == 1
    assert page.locator("output[data-count=cells]").inner_text() == "1 of 15"
    page.close()


@pytest.mark.usefixtures("without_pictures")
def test_names_that_look_like_markup_stay_names(tmp_path):
    cells = grid({("two_relu", "encoder"): 1.0}, seeds=(0,), data="<img src=x onerror=alert(1)>")
    text = write(build(tmp_path, cells)).page.read_text()
    assert "<img src=x" not in text
    assert "&lt;img src=x" in text
