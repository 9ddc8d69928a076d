"""The pages as Chromium shows them: small, dark, printed, sorted, filtered, without a script."""

import itertools
import re

import pytest

from zsrobust.reporting.leaderboard import write_leaderboard
from zsrobust.reporting.report import write_report


@pytest.fixture(scope="module")
def pages(browser, report, demo, evaluation, tmp_path_factory):
    """Both pages; the leaderboard of models on many sets, for a wide table."""
    del browser  # Where there is none, nothing needs to be written.
    out = tmp_path_factory.mktemp("pages")
    lines = [
        (f"data-set-{i}", model, method, False, 100, 80, robust + i)
        for i in range(12)
        for model, method, robust in (("c", "original", 1), ("t", "tecoa", 9), ("f", "fare", 30))
    ]
    wide = evaluation(out / "wide", lines)
    named = [("OTHER_PHOTOS_OF_MINE", *line[1:]) for line in lines[:3]]
    run = evaluation(out / "named", named)
    return {
        "names": write_report([run], out / "names").page,
        "report": report.page,
        "leaderboard": write_leaderboard([wide, demo], out / "leaderboard.html").page,
    }


@pytest.fixture
def show(browser, pages):
    """Opens a page; fails where a browser complains of it or it asks for anything."""
    contexts, complaints = [], []

    def opened(name, **options):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        address = pages[name].as_uri()
        page.on(
            "request",
            lambda request: (
                complaints.append(request.url)
                if request.url.partition("#")[0] != address and not request.url.startswith("data:")
                else None
            ),
        )
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def column(page, selector, number):
    cells = page.locator(f"{selector} tbody tr > :nth-child({number})")
    return [text.split()[0] for text in cells.all_inner_texts()]


@pytest.mark.parametrize("name", ["report", "leaderboard"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(show, name, scheme):
    page = show(name, viewport={"width": 360, "height": 700}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    # A wide table scrolls in its own box.
    assert page.evaluate(
        "[...document.querySelectorAll('.box')].some((box) => box.scrollWidth > box.clientWidth)"
    )


CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = getComputedStyle(at).backgroundColor;
      if (!/, 0\\)$/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  document.querySelectorAll("details").forEach((part) => (part.open = true));
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const weak = [];
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || element.closest("script, [hidden]")) continue;
    const style = getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [light(ink), light(paper(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) weak.push(`${walk.currentNode.data.trim().slice(0, 40)}: ${ratio}`);
  }
  return weak;
}"""


@pytest.mark.parametrize("name", ["report", "leaderboard"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(show, name, scheme):
    page = show(name, color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    red = int(re.findall(r"\d+", ground)[0])
    assert red < 60 if scheme == "dark" else red > 240
    assert page.evaluate(CONTRAST) == []


def test_figures_take_the_colours_of_the_page(show):
    fill = "getComputedStyle(document.querySelector('figure svg text')).fill"
    light, dark = (show("report", color_scheme=s).evaluate(fill) for s in ("light", "dark"))
    assert light == "rgb(26, 28, 30)"
    assert dark == "rgb(232, 234, 237)"


def test_a_table_is_sorted_by_its_headings_within_its_groups(show):
    page = show("report")
    table = page.locator("table", has_text="Average accuracy")
    names = "table:has(caption:has-text('Average accuracy'))"
    assert column(page, names, 2) == ["original", "TeCoA", "PMG-AFT"] * 2
    heading = table.locator("thead th").nth(4)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    # All sets: 0.5, 30.0, 30.0; unseen: 1.0, 30.0, 40.0.
    assert column(page, names, 2) == [
        "TeCoA",
        "PMG-AFT",
        "original",
        "PMG-AFT",
        "TeCoA",
        "original",
    ]
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(page, names, 5)[:3] == ["0.5", "30.0", "30.0"]
    table.locator("thead th").nth(1).get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "none"
    assert column(page, names, 2)[:3] == ["original", "PMG-AFT", "TeCoA"]


def test_the_leaderboard_is_filtered_by_words_attack_and_origin(show):
    page = show("leaderboard")
    rows = page.locator("tbody tr:visible")
    everything = rows.count()
    status = page.locator("output")
    assert status.inner_text() == f"{everything} of {everything} rows"
    page.get_by_label("Results").select_option("published")
    assert set(page.locator("tbody tr:visible .tag").all_inner_texts()) == {"as printed"}
    page.get_by_label("Results").select_option("ours")
    assert set(page.locator("tbody tr:visible .tag").all_inner_texts()) == {"measured here"}
    page.get_by_label("Model").fill("TECOA")
    # One on the wide evaluation and one at each radius of the demonstration.
    assert page.locator("tbody tr:visible th a").all_inner_texts() == ["TeCoA"] * 3
    page.locator("[name=attack]").select_option("pgd-10 8/255")
    assert status.inner_text() == f"1 of {everything} rows"
    page.get_by_label("Model").fill("nothing of this name")
    assert rows.count() == 0
    page.get_by_label("Model").fill("")
    page.locator("[name=attack]").select_option("")
    page.get_by_label("Results").select_option("")
    assert rows.count() == everything


def test_a_row_leads_to_its_protocol(show):
    page = show("leaderboard")
    protocol = page.locator("#ours-1-1")
    assert not protocol.is_visible()
    page.locator("tbody a").first.click()
    assert protocol.is_visible()
    assert "steps 10" in protocol.inner_text()


@pytest.mark.parametrize("name", ["report", "leaderboard"])
def test_without_a_script_everything_is_there(show, name):
    page = show(name, java_script_enabled=False)
    assert not page.locator("form").is_visible() if name == "leaderboard" else True
    assert page.locator("main table").first.is_visible()
    page.locator("summary").first.click()
    assert page.locator("details[open]").count() == 1


def test_print_is_light_whole_and_without_controls(show):
    page = show("leaderboard", color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("form").is_visible()
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    assert page.pdf().startswith(b"%PDF")
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_the_keyboard_reaches_the_content_first(show):
    page = show("report")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the content"
    assert skip.is_visible()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_phone_shows_averages_as_cards_and_figures_whole(show):
    page = show("report", viewport={"width": 360, "height": 700})
    tables = page.locator("table.cards")
    assert tables.count() == 2
    for table in tables.all():
        assert table.evaluate("t => t.scrollWidth <= t.parentElement.clientWidth")
    card = tables.first.locator("tbody tr").first
    assert card.bounding_box()["height"] > 80
    # The verdict and the first numbers stand on the first screen or two, before any figure.
    assert card.bounding_box()["y"] < 900
    drawn = page.locator("figure svg:visible")
    assert drawn.count() == page.locator("figure").filter(has=page.locator("svg")).count()
    for box in (one.bounding_box() for one in drawn.all()):
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360
    # Type of 8 points, 10 pixels, or nearly.
    size = "e => parseFloat(getComputedStyle(e).fontSize) * e.getScreenCTM().a"
    assert page.locator("figure svg:visible text").first.evaluate(size) > 9


def test_a_wide_table_says_that_it_scrolls_and_keeps_its_first_column(show):
    page = show("report", viewport={"width": 360, "height": 700})
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    box = page.locator(".box.scrolls").filter(has=page.locator("table")).first
    assert "scroll" in box.evaluate("e => getComputedStyle(e, '::before').content")
    first = box.locator("tbody th").first
    before = first.bounding_box()["x"]
    box.evaluate("e => (e.scrollLeft = e.scrollWidth)")
    assert box.evaluate("e => e.scrollLeft") > 0
    assert first.bounding_box()["x"] == before


LINES_OF_WORDS = """() => [...document.querySelectorAll("tbody td, tbody th")].flatMap((cell) => {
  const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
  for (let node; (node = texts.nextNode()); )
    for (const word of node.textContent.matchAll(/\\S+/g)) {
      const range = document.createRange(), lines = [];
      for (let at = word.index, top; at < word.index + word[0].length; at++) {
        range.setStart(node, at); range.setEnd(node, at + 1);
        const box = range.getClientRects()[0];
        if (!box) continue;
        if (Math.abs(box.top - top) < 3) lines.push(lines.pop() + node.textContent[at]);
        else lines.push(node.textContent[at]);
        top = box.top;
      }
      found.push(lines);
    }
  return found;
})"""


@pytest.mark.parametrize("width", [360, 1300])
@pytest.mark.parametrize("name", ["report", "leaderboard", "names"])
def test_names_break_at_their_marks_alone(show, name, width):
    page = show(name, viewport={"width": width, "height": 700})
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    words = page.evaluate(LINES_OF_WORDS)
    assert len(words) > 50
    broken = [
        lines
        for lines in words
        if not all(
            re.search(r"[-_/:]$", one) or following.startswith(("[", "("))
            for one, following in itertools.pairwise(lines)
        )
    ]
    assert broken == []
    if name == "names" and width == 360:
        finding = page.locator("table.prose tbody tr").first
        heights = [cell.bounding_box()["y"] for cell in finding.locator("th, td").all()]
        assert heights == sorted(set(heights)), "a cell below the other"


@pytest.mark.parametrize("name", ["report", "leaderboard"])
def test_a_desktop_cuts_no_table(show, name):
    page = show(name, viewport={"width": 1300, "height": 900})
    page.evaluate("document.querySelectorAll('details').forEach((part) => (part.open = true))")
    assert page.locator(".box.scrolls").count() == 0


def test_at_most_four_pages_are_printed_before_the_appendix(show):
    page = show("report")
    page.evaluate("document.getElementById('appendix').parentElement.remove()")
    assert page.pdf(format="A4").count(b"/Type /Page\n") in (1, 2, 3, 4)
