"""The command and its server: what is refused before it serves, and while it does."""

import socket
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient

from zsrobust.cli.main import main
from zsrobust.serve.examples import examples
from zsrobust.serve.handlers import Handlers
from zsrobust.serve.limits import Limits
from zsrobust.serve.page import page
from zsrobust.serve.server import address, claim, is_loopback, run_server
from zsrobust.utils import extras
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow


def test_a_missing_extra_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(["serve"]) == 2
    sentence = 'zsrobust: gradio is not installed: pip install "zsrobust[serve]"\n'
    assert capsys.readouterr().err == sentence


def test_a_taken_port_is_one_sentence(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"zsrobust: cannot serve at 127.0.0.1, port {port} (")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("host", "port"), [("127.0.0.1", 70_000), ("not a host", 7860), ("203.0.113.1", 7860)]
)
def test_places_that_are_none_of_this_machine_are_refused(host, port):
    with pytest.raises(RequestError, match=r"choose another with --host or --port"):
        claim(host, port)


def test_an_unknown_model_is_refused(capsys):
    assert main(["serve", "no-such-model", "--port", "0"]) == 2
    assert "no-such-model" in capsys.readouterr().err


def test_who_reaches_it():
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.9.1", "::1", "localhost"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.0.2.1", "host.example"))


def test_other_machines_are_warned_of(monkeypatch, capsys):
    def nobody(*_):
        raise RequestError("no further")

    monkeypatch.setattr("zsrobust.serve.served.load_served", nobody)
    assert main(["serve", "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "warning: 0.0.0.0 is reachable from other machines" in capsys.readouterr().err
    assert main(["serve", "--port", "0"]) == 2
    assert "warning" not in capsys.readouterr().err


def test_an_address_can_be_opened():
    assert address("127.0.0.1", 7860) == "http://127.0.0.1:7860"
    assert address("::1", 80) == "http://[::1]:80"


def test_requests_beyond_the_queue_are_refused(served, monkeypatch):
    apps = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: apps.append(self.config.app))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        run_server(served, listening, Limits(waiting=2), lambda: None)
    # Outside of a with statement the client does not start the app, so all requests wait.
    client = TestClient(apps[0])
    events = client.get("/config").json()["dependencies"]
    attack = next(event for event in events if event["api_name"] == "on_attack")
    request = {"fn_index": attack["id"], "data": [None] * len(attack["inputs"])}
    answers = [
        client.post("/gradio_api/queue/join", json={**request, "session_hash": visitor})
        for visitor in "abcd"
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 503, 503]
    assert "queue is full" in answers[-1].text.lower()


def test_pictures_of_examples_outlast_the_cache(served, tmp_path, monkeypatch):
    from gradio.route_utils import delete_files_created_by_app

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers = Handlers(served, Limits())
    blocks = page(handlers, examples(served), tmp_path)
    icons = [Path(b.icon["path"]) for b in blocks.blocks.values() if getattr(b, "icon", None)]
    assert len(icons) > 5
    # What the schedule does an hour later.
    delete_files_created_by_app(blocks, None)
    handlers.close()
    assert all(icon.is_file() for icon in icons)


def test_models_behind_an_option_are_refused_with_what_is_right(capsys):
    assert main(["serve", "--model", "glyph-clip"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "as in zsrobust serve MODEL" in error


def test_gradio_announces_nothing_of_its_own(served, tmp_path, monkeypatch):
    """Its word for a finished event lacks a translation: a screen reader says common.complete."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    handlers = Handlers(served, Limits())
    events = page(handlers, examples(served), tmp_path).fns.values()
    handlers.close()
    assert len(events) > 10
    assert {event.show_progress for event in events} == {"hidden"}
