"""What leaves the machine, seen by a hub on this machine."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest

from zsrobust.cli.main import main
from zsrobust.export.command import export
from zsrobust.export.request import ExportRequest


@pytest.fixture
def folder(source, tuned, tmp_path):
    """A TeCoA export with things beside it that no export wrote."""
    out = tmp_path / "out"
    export(ExportRequest(tuned(source(quick_gelu=True)), "tecoa", out=str(out)))
    (out / ".env").write_text("SECRET=1")
    (out / "notes.txt").write_text("private")
    return out


@pytest.fixture
def token(monkeypatch):
    """A token in the environment, none in the home of whoever runs the tests."""
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.fixture
def hub(monkeypatch):
    """A hub that keeps what it is asked and sent, and takes every file as text."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append((self.path, self.headers["Authorization"], body))
            answer = {"url": f"{address}/me/robust", "name": "me/robust"}
            if "/preupload/" in self.path:
                files = [
                    {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for one in json.loads(body)["files"]
                ]
                answer = {"files": files}
            elif "/commit/" in self.path:
                answer = {"commitUrl": f"{address}/me/robust/commit/1", "commitOid": "1"}
            self._send(answer)

        def do_GET(self):
            self._send({"id": "me/robust", "sha": "0", "siblings": []})

        def _send(self, answer):
            content = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_): ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    monkeypatch.setattr(huggingface_hub.hf_api, "ENDPOINT", address, raising=False)
    yield asked
    server.shutdown()
    server.server_close()


def test_only_the_export_is_pushed(folder, hub, token, capsys):
    assert main(["push", str(folder), "me/robust", "--private", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["address"].endswith("/me/robust")
    created = next(json.loads(body) for path, _, body in hub if path.endswith("/repos/create"))
    assert (created["name"], created["organization"]) == ("robust", "me")
    assert created.get("private") is True or created.get("visibility") == "private"
    (lines,) = [body for path, _, body in hub if "/commit/" in path]
    entries = [json.loads(line) for line in lines.splitlines()]
    sent = {
        entry["value"]["path"]: base64.b64decode(entry["value"]["content"])
        for entry in entries
        if entry["key"] == "file"
    }
    assert sent == {
        name: (folder / name).read_bytes()
        for name in ("README.md", "model.pth.tar", "zsrobust_export.json")
    }
    assert {key for _, key, _ in hub} == {"Bearer hf_of_the_test"}


def test_an_edited_card_is_sent_and_damaged_weights_are_not(folder, hub, token, capsys):
    (folder / "README.md").write_text("# Mine")
    assert main(["push", str(folder), "me/robust"]) == 0
    weights = folder / "model.pth.tar"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    hub.clear()
    assert main(["push", str(folder), "me/robust"]) == 2
    assert "model.pth.tar is not as it was exported" in capsys.readouterr().err
    weights.unlink()
    assert main(["push", str(folder), "me/robust"]) == 2
    assert "model.pth.tar is missing" in capsys.readouterr().err
    assert not hub


def test_offline_it_ends_in_one_sentence(folder, token, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(["push", str(folder), "me/robust"]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "was not pushed to http://127.0.0.1:9/me/robust: " in told


def test_bad_names_and_folders_are_refused_before_anything_is_sent(folder, hub, token, capsys):
    for name in ("a b", "a/b/c", "", "../up", "me/", "-x"):
        assert main(["push", "--", str(folder), name]) == 2, name
        assert "is no repository's name" in capsys.readouterr().err
    assert main(["push", str(folder.parent), "me/robust"]) == 2
    assert "is no export" in capsys.readouterr().err
    assert not hub


def test_without_a_token_nothing_is_asked(folder, hub, monkeypatch, capsys):
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    assert main(["push", str(folder), "me/robust"]) == 2
    assert "there is no token for the hub" in capsys.readouterr().err
    assert not hub


def test_a_mark_that_names_files_elsewhere_is_refused(folder, hub, token, capsys):
    mark = folder / "zsrobust_export.json"
    content = json.loads(mark.read_text())
    (folder.parent / "secret").write_text("s")
    content["files"]["../secret"] = "0"
    mark.write_text(json.dumps(content))
    assert main(["push", str(folder), "me/robust"]) == 2
    assert "names files elsewhere" in capsys.readouterr().err
    assert not hub
