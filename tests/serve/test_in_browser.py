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
from pathlib import Path

import pytest
from PIL import Image

from zsrobust.data.glyphs.sets import glyph_set

WAIT = 40_000
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
        loading, ready, *_, last = errors.splitlines()
        assert loading == f"loading glyph-clip, {small_clip}"
        assert f"open http://127.0.0.1:{port}" in ready
        assert last == "zsrobust: stopped"
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def show(browser, server):
    """Opens the page; fails where the browser complains or asks anyone but the server."""
    contexts, complaints = [], []

    def opened(example="chess bishop", **options):
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
        page.locator("#model-2 td.clean.top").wait_for()
        if example:
            choose(page, example)
            predicts(page, 1, "clean", example)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def predicts(page, model, kind, name):
    """Wait until a model's likeliest class of the image is ``name``."""
    rows = page.locator(f"#model-{model} .bars tr:has(td.{kind}.top)")
    rows.get_by_role("rowheader", name=name, exact=True).wait_for()


def set_steps(page, count):
    page.locator("#steps input").fill(str(count))


def choose(page, example):
    page.locator("#examples button").get_by_text(example, exact=True).click()


def script(name):
    return Path(__file__).with_name(name).read_text()


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


def test_an_image_is_uploaded_named_attacked_and_downloaded(show, letter, tmp_path):
    page = show()
    fill(page, "class-names", "small letter g, small letter h, small letter q")
    upload(page, letter)
    predicts(page, 1, "clean", "small letter g")
    fill(page, "eps", "8/255")
    click(page, "Attack")
    page.locator("#comparison table").wait_for()
    page.locator("#downloads button").nth(4).wait_for()
    status = page.locator("#status").inner_text()
    assert re.search(
        r"Attack on glyph-clip succeeded: small letter g 1?\d\d% → small letter [hq]", status
    )
    rows = page.locator("#comparison tbody tr")
    assert rows.count() == 5
    assert "transfer" in rows.nth(1).inner_text()
    assert "L-inf, eps 8/255" in page.locator("#comparison").inner_text()
    # Both models stand side by side, below the status.
    left, right = (page.locator(f"#model-{number}").bounding_box() for number in (1, 2))
    above = page.locator("#status").bounding_box()
    assert left["y"] == right["y"] >= above["y"] + above["height"]
    assert left["x"] + left["width"] <= right["x"]
    assert page.locator("#downloads button").count() == 5
    with page.expect_download() as download:
        page.get_by_text("Adversarial image, glyph-clip").click()
    download.value.save_as(tmp_path / "adversarial.png")
    with Image.open(tmp_path / "adversarial.png") as adversarial, Image.open(letter) as clean:
        pairs = zip(adversarial.convert("RGB").tobytes(), clean.tobytes(), strict=True)
        assert 0 < max(abs(a - b) for a, b in pairs) <= 8


def test_an_example_brings_its_classes_and_a_target_is_reached(show):
    page = show("small letter g")
    fill(page, "target", "small letter q")
    fill(page, "eps", "8/255")
    click(page, "Attack")
    page.locator("#comparison table").wait_for()
    predicts(page, 1, "adversarial", "small letter q")
    assert "Attack on glyph-clip succeeded" in page.locator("#status").inner_text()


def test_it_opens_on_a_photograph_where_a_model_reads_its_classes(show):
    pytest.importorskip("skimage")
    page = show(example=None)
    assert page.locator("#class-names textarea").input_value().startswith("cat, astronaut")
    assert page.locator("#examples button").first.inner_text() == "cat"
    assert page.locator("#photo-models").count() == 0


WATCH = """() => {
  window.frames_seen = [];
  const card = document.querySelector("#model-1");
  const note = () => {
    const source = (name) => card.querySelector(`img[alt="${name}"]`)?.src;
    const images = ["Clean", "Adversarial", "Perturbation, magnified"].map(source);
    const bars = [...card.querySelectorAll(".adversarial .bar")].map((bar) => bar.style.width);
    window.frames_seen.push({step: card.querySelector(".step")?.innerText, images, bars});
  };
  const all = {childList: true, attributes: true, characterData: true, subtree: true};
  new MutationObserver(note).observe(card, all);
}"""


def test_an_attack_is_redrawn_while_it_runs(show):
    page = show()
    set_steps(page, 100)
    page.evaluate(WATCH)
    click(page, "Attack")
    page.locator("#comparison table").wait_for()
    during = [one for one in page.evaluate("window.frames_seen") if one["step"]]
    clean, adversarial, perturbation = (
        {one["images"][place] for one in during} for place in range(3)
    )
    assert len(clean) == 1
    assert len(adversarial) >= 3
    assert len(perturbation) >= 3
    assert len({tuple(one["bars"]) for one in during}) >= 3
    steps = [int(re.search(r"Step (\d+) of 100", one["step"])[1]) for one in during]
    assert steps == sorted(steps)


def test_buttons_are_busy_before_the_server_answers(show):
    page, held = show(), []
    page.route("**/queue/join*", lambda route: held.append(route))
    attack, cancel = (page.locator(f"#{name}") for name in ("attack", "cancel"))
    assert cancel.is_disabled()
    click(page, "Attack")
    page.wait_for_function("document.querySelector('#attack').innerText == 'Attacking'")
    assert attack.is_disabled()
    assert cancel.is_enabled()
    page.wait_for_timeout(200)
    assert len(held) == 1
    held.pop().continue_()
    page.locator("#attack:not([disabled])", has_text="Attack").wait_for()
    assert cancel.is_disabled()
    assert page.locator("#comparison table").count() == 1
    click(page, "Predict")
    page.wait_for_function("document.querySelector('#predict').innerText == 'Predicting'")
    assert page.locator("#predict").is_disabled()
    page.wait_for_timeout(200)
    # The results of the request before are faded until the answer is there.
    opacity = "Number(getComputedStyle(document.querySelector('#results')).opacity)"
    assert page.evaluate(opacity) < 1
    held.pop().continue_()
    page.locator("#predict:not([disabled])", has_text="Predict").wait_for()
    assert page.evaluate(opacity) == 1


def test_an_attack_can_be_cancelled(show):
    page = show()
    set_steps(page, 200)
    click(page, "Attack")
    page.locator("#model-1 .step progress").wait_for()
    click(page, "Cancel")
    page.locator("#status").filter(has_text="Cancelled.").wait_for()
    assert page.locator("#comparison table").count() == 0
    page.locator("#attack:not([disabled])", has_text="Attack").wait_for()
    # The worker is free for the next attack.
    set_steps(page, 2)
    click(page, "Attack")
    page.locator("#comparison table").wait_for()


def test_one_attack_at_a_time(show):
    first, second = show(), show()
    set_steps(first, 200)
    click(first, "Attack")
    first.locator("#model-1 .step").wait_for()
    click(second, "Attack")
    queued = second.locator("#status").get_by_text("In queue: 1 attack ahead of you.")
    queued.wait_for()
    # A visitor who waits may leave.
    click(second, "Cancel")
    second.locator("#status").filter(has_text="Cancelled.").wait_for()
    second.locator("#attack:not([disabled])").wait_for()
    click(second, "Attack")
    queued.wait_for()
    click(first, "Cancel")
    second.locator("#comparison table").wait_for()


def test_bad_input_is_refused(show, tmp_path):
    (tmp_path / "words.png").write_text("no image")
    page = show()
    alert = page.locator("#status [role=alert]")
    upload(page, tmp_path / "words.png")
    alert.filter(has_text="'words.png' is not an image: give one of").wait_for()
    choose(page, "chess bishop")
    predicts(page, 1, "clean", "chess bishop")
    fill(page, "eps", "20/255")
    click(page, "Attack")
    alert.filter(has_text="Eps 20/255 is too large").wait_for()
    page.locator("#attack:not([disabled])", has_text="Attack").wait_for()
    for names in ("", "cat"):
        fill(page, "class-names", names)
        click(page, "Predict")
        alert.filter(has_text="Give at least two class names").wait_for()


def test_class_names_are_text(show):
    page = show()
    names = ["${1+1}", "{{1+1}}", "<b>bold</b>"]
    fill(page, "class-names", "\n".join(names))
    click(page, "Predict")
    page.locator("#model-2 .bars").get_by_text(names[0]).wait_for()
    shown = page.locator("#model-2 .bars tbody th").all_inner_texts()
    assert sorted(shown) == sorted(names)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_page(show, scheme):
    page = show(viewport={"width": 360, "height": 700}, color_scheme=scheme)

    def require_fit():
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= page.evaluate("window.innerWidth") == 360

    require_fit()
    set_steps(page, 200)
    click(page, "Attack")
    page.locator("#model-1 .step").wait_for()
    require_fit()
    # What is redrawn is in view.
    page.wait_for_function(
        "document.querySelector('#model-1 img').getBoundingClientRect().top < window.innerHeight"
    )
    page.locator("#comparison table").wait_for()
    require_fit()
    downloads = page.locator("#downloads button")
    # They come after the table.
    downloads.nth(4).wait_for()
    assert downloads.count() == 5
    for place in range(5):
        assert downloads.nth(place).evaluate("b => b.scrollWidth <= b.clientWidth")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    ink = page.evaluate("getComputedStyle(document.querySelector('#comparison td')).color")
    ground, ink = (int(re.findall(r"\d+", colour)[0]) for colour in (ground, ink))
    assert ink - ground > 150 if scheme == "dark" else ground - ink > 150
    fill(page, "eps", "1")
    click(page, "Attack")
    page.locator("#status [role=alert]").wait_for()
    require_fit()


@pytest.mark.parametrize("size", [(1300, 900), (360, 740)])
def test_nothing_covers_the_form(show, size):
    page = show(viewport=dict(zip(("width", "height"), size, strict=True)))
    controls, covered = page.evaluate(script("covered.js"))
    assert controls > 10
    assert covered == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(show, scheme):
    page = show(color_scheme=scheme)
    click(page, "Attack")
    page.locator("#downloads button").nth(4).wait_for()
    page.locator("#attack:not([disabled])").wait_for()
    read, faint = page.evaluate(script("faint_text.js"))
    assert read > 50
    assert faint == []


def test_an_example_is_announced_once(show):
    page = show()
    page.get_by_role("button", name="small letter g", exact=True).wait_for()


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
