"""The page as Chromium shows it, served by the command itself."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from PIL import Image

from zsrobust.data.glyphs.sets import glyph_set

WAIT = 60_000
"""Milliseconds; what is waited for takes far less where the machine is not busy."""


@pytest.fixture(scope="module")
def server(browser, small_clip, tmp_path_factory):
    """The command at work, and its address."""
    del browser  # Where there is none, nothing needs to be served.
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["serve", "glyph-clip", small_clip, "--port", str(port), "--json", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "zsrobust", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=tmp_path_factory.mktemp("serve"),
        # A shell that runs the tests in the background has interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        told = json.loads(process.stdout.readline())
        assert told == {"address": f"http://127.0.0.1:{port}", "models": ["glyph-clip", small_clip]}
        yield told["address"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        first, *_, last = errors.splitlines()
        assert f"open http://127.0.0.1:{port}" in first
        assert last == "zsrobust: stopped"
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def show(browser, server):
    """Opens the page; fails where the browser complains or asks anyone but the server."""
    contexts, complaints = [], []

    def opened(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        # Gradio warns of what its own client leaves out; errors are another thing.
        page.on(
            "console",
            lambda message: complaints.append(message.text) if message.type == "error" else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((f"{server}/", "data:", "blob:"))
                else complaints.append(request.url)
            ),
        )
        page.goto(server)
        # The first example is predicted without a click.
        said(page, 1, 0, "chess bishop")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def said(page, model, which, words):
    """Wait until a model's prediction, 0 before and 1 under attack, begins with ``words``."""
    label = page.locator(f"#model-{model} [data-testid=label-output-value]").nth(which)
    label.filter(has_text=words).wait_for()


def click(page, name):
    page.get_by_role("button", name=name, exact=True).click()


def fill(page, place, text):
    page.locator(f"#{place} textarea, #{place} input[type=text]").fill(text)


@pytest.fixture
def letter(tmp_path):
    """A file with a drawing of the letter g."""
    images = glyph_set("small-letters", "test")
    images.read_rgb(6).save(tmp_path / "letter.png")
    return tmp_path / "letter.png"


def upload(page, path):
    page.get_by_label("Remove Image").click()
    page.locator("#image input[type=file]").set_input_files(path)


def test_an_image_is_dropped_in_named_attacked_and_taken_away(show, letter, tmp_path):
    page = show()
    fill(page, "class-names", "small letter g, small letter h, small letter q")
    upload(page, letter)
    said(page, 1, 0, "small letter g")
    fill(page, "eps", "8/255")
    click(page, "Attack")
    page.locator("#comparison table").wait_for()
    status = page.locator("#status").inner_text()
    assert re.search(
        r"glyph-clip was fooled: small letter g 1?\d\d% before, small letter [hq]", status
    )
    rows = page.locator("#comparison tbody tr")
    assert rows.count() == 5
    assert "transfer" in rows.nth(1).inner_text()
    assert "L-inf, eps 8/255" in page.locator("#comparison").inner_text()
    # Both models stand side by side.
    left, right = (page.locator(f"#model-{number}").bounding_box() for number in (1, 2))
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    links = page.locator("#files a[download]")
    assert links.count() == 5
    with page.expect_download() as download:
        links.first.click()
    download.value.save_as(tmp_path / "attacked.png")
    with Image.open(tmp_path / "attacked.png") as attacked, Image.open(letter) as clean:
        pairs = zip(attacked.convert("RGB").tobytes(), clean.tobytes(), strict=True)
        assert 0 < max(abs(a - b) for a, b in pairs) <= 8


def test_an_example_brings_its_classes_and_a_target_is_reached(show):
    page = show()
    page.locator("#examples button").nth(1).click()
    said(page, 1, 0, "small letter g")
    fill(page, "target", "small letter q")
    fill(page, "eps", "8/255")
    click(page, "Attack")
    said(page, 1, 1, "small letter q")
    assert "glyph-clip predicts small letter q under attack" in page.locator("#status").inner_text()


def test_progress_is_live_and_can_be_cancelled(show):
    page = show()
    page.locator("#steps input[type=number]").fill("200")
    click(page, "Attack")
    page.locator("#status").get_by_text("Attacking glyph-clip: step").wait_for()
    page.locator("#status .progress-bar").wait_for()
    click(page, "Cancel")
    page.locator("#status").filter(has_text="Cancelled.").wait_for()
    assert page.locator("#comparison table").count() == 0
    # The worker is free for the next attack.
    page.locator("#steps input[type=number]").fill("2")
    click(page, "Attack")
    page.locator("#comparison table").wait_for()


def test_one_attack_at_a_time(show):
    first, second = show(), show()
    first.locator("#steps input[type=number]").fill("200")
    click(first, "Attack")
    first.locator("#status").get_by_text("Attacking glyph-clip: step").wait_for()
    click(second, "Attack")
    second.locator("#status").get_by_text("queue: 1/1").wait_for()
    # Who waits may leave.
    click(second, "Cancel")
    second.locator("#status").filter(has_text="Cancelled.").wait_for()
    click(second, "Attack")
    second.locator("#status").get_by_text("queue: 1/1").wait_for()
    click(first, "Cancel")
    second.locator("#comparison table").wait_for()


def test_a_bad_file_and_a_bad_radius_are_refused(show, tmp_path):
    (tmp_path / "words.png").write_text("no image")
    page = show()
    upload(page, tmp_path / "words.png")
    alert = page.locator("#status [role=alert]")
    alert.filter(has_text="words.png is no image: give one of").wait_for()
    page.locator("#examples button").first.click()
    said(page, 1, 0, "chess bishop")
    fill(page, "eps", "20/255")
    click(page, "Attack")
    alert.filter(has_text="eps 20/255 is too large").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_page(show, scheme):
    page = show(viewport={"width": 360, "height": 700}, color_scheme=scheme)
    page.locator("#steps input[type=number]").fill("2")
    click(page, "Attack")
    page.locator("#comparison table").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate("getComputedStyle(document.querySelector('#comparison td')).color")
    ground, ink = (int(re.findall(r"\d+", colour)[0]) for colour in (ground, ink))
    assert ink - ground > 150 if scheme == "dark" else ground - ink > 150


def test_only_the_page_is_served(server):
    with urllib.request.urlopen(server) as answer:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "googleapis" not in answer.read().decode()
    for path in ("/gradio_api/file=/etc/hostname", "/gradio_api/file=../pyproject.toml"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(server + path)
        assert refused.value.code in (403, 404)


def test_an_upload_past_the_limit_is_refused(server):
    line = "7d1"
    head = f'--{line}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head.encode() + b"x" * 8_000_001 + f"\r\n--{line}--\r\n".encode()
    request = urllib.request.Request(
        f"{server}/gradio_api/upload",
        body,
        {"Content-Type": f"multipart/form-data; boundary={line}"},
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 413
