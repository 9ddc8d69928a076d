"""The site builds, its links lead somewhere, it works offline and fits a phone's screen."""

import argparse
import functools
import http.server
import re
import threading
from pathlib import Path

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from zsrobust.cli.commands import command_names
from zsrobust.cli.commands.completion import full_parser
from zsrobust.objectives import OBJECTIVES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    out = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out)))
    return out


def test_files_of_the_repository_are_pages_too(site):
    linked = (site / "fidelity" / "index.html").read_text("utf-8")
    assert 'href="../repository/tests/objectives/test_losses.py/"' in linked
    shown = site / "repository" / "tests" / "objectives" / "test_losses.py" / "index.html"
    assert "test_pmg_aft_presets" in shown.read_text("utf-8")
    notebook = site / "repository" / "notebooks" / "two_methods.ipynb" / "index.html"
    assert 'href="../../../replication/"' in notebook.read_text("utf-8")


def test_every_command_and_option_is_described(site):
    page = (site / "cli" / "index.html").read_text("utf-8")
    for command in command_names():
        assert f'id="zsrobust-{command}"' in page
    for method in OBJECTIVES:
        assert method in page
    # Where a command explains its own options, it writes --dry-run for --dry_run.
    options = set(re.findall(r"--[a-z][\w.]*", page.replace("-", "_").replace("__", "--")))
    for parser in all_parsers(full_parser()):
        for action in parser._actions:
            for option in action.option_strings[:1]:
                if option not in ("--json", "--debug", "-h"):
                    plain = option.replace("-", "_").replace("__", "--")
                    assert plain in options, f"{parser.prog} {option}"


def test_every_method_is_in_the_table(site):
    page = (site / "training" / "index.html").read_text("utf-8")
    for name, kind in OBJECTIVES.items():
        assert f"<td><code>{name}</code></td>\n<td>{kind.title}</td>" in page


def all_parsers(parser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from all_parsers(below)


def test_docstrings_are_there_without_their_markup(site):
    page = (site / "api" / "index.html").read_text("utf-8")
    assert "RequestError" in page
    assert ":class:" not in page


@pytest.fixture
def build_page(tmp_path):
    """Builds a site of one page that says this."""

    def built(text):
        (tmp_path / "docs").mkdir()
        (tmp_path / "docs" / "index.md").write_text(text)
        config = load_config(
            str(ROOT / "mkdocs.yml"),
            docs_dir=str(tmp_path / "docs"),
            site_dir=str(tmp_path / "out"),
            nav=[{"Title": "index.md"}],
            hooks=["scripts/docs/repository_links.py"],
            extra_css=[],
            plugins=[],
        )
        build(config)

    return built


def test_a_link_that_leads_somewhere_does_not_fail_the_build(build_page):
    build_page("# Title\n\n[here](#title), [here](index.md#title)\n")


@pytest.mark.parametrize(
    "link", ["gone.md", "index.md#gone", "#gone", "../gone.py", "/absolute.md", "replication/gone"]
)
def test_a_link_that_leads_nowhere_fails_it(link, build_page):
    with pytest.raises(Abort, match=r"1 warnings? in strict mode"):
        build_page(f"# Title\n\n[wrong]({link})\n")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): ...


@pytest.fixture(scope="module")
def address(site):
    """Where the site is served on this machine."""
    served = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), served) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_pages_fit_and_ask_no_other_host(browser, site, address, scheme, width):
    context = browser.new_context(
        viewport={"width": width, "height": 700}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    asked, errors = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    pages = sorted(found.parent.relative_to(site) for found in site.glob("*/index.html"))
    for path in ["", *(f"{folder}/" for folder in pages)]:
        page.goto(f"{address}/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(ground.strip("rgba()").split(",")[0]) < 60) == (scheme == "dark"), path
    context.close()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    assert errors == []
