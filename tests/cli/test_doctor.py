import json
import os
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from zsrobust.cli import checkup
from zsrobust.cli.checkup import Finding
from zsrobust.cli.main import main
from zsrobust.data.published.sets import published_sets

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def by_name(findings):
    return {finding.name: finding for finding in findings}


@pytest.fixture
def asked_for(monkeypatch):
    """Puts other requirements in the place of the installed package's."""
    return lambda *lines: monkeypatch.setattr(checkup, "requires", lambda name: list(lines))


@pytest.fixture
def without_network(monkeypatch):
    """Any try to reach another machine fails the test."""

    def fail(*_, **__):
        raise AssertionError("the network was used")

    monkeypatch.setattr("socket.socket.connect", fail)
    monkeypatch.setattr("socket.getaddrinfo", fail)


def test_this_machine_is_usable(without_network, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ZSROBUST_DATA", str(tmp_path))
    for name in published_sets()["eurosat"].needs:
        (tmp_path / "eurosat/eurosat/2750" / name).mkdir(parents=True)
    assert main(["doctor", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["usable"] is True
    found = {one["name"]: one for one in told["findings"]}
    assert found["torch"]["text"] == version("torch")
    for name in ("glyph-clip", "glyph-vit"):
        assert found[name]["text"] == "loads, weights as shipped"
    assert re.match(r"1 of \d+ in .*: eurosat$", found["published sets"]["text"])
    assert found["ZSROBUST_DATA"]["text"].startswith(str(tmp_path))
    assert f"{os.cpu_count()} cores" in found["cpu"]["text"]
    # The words for people are there too, on the other stream.
    assert "loads, weights as shipped" in err


def test_every_extra_is_known_by_what_it_enables():
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    project = tomllib.loads(PROJECT.read_text("utf-8"))["project"]
    assert set(checkup.ENABLES) == set(project["optional-dependencies"])


def test_a_missing_and_an_old_package_are_broken(asked_for):
    asked_for("numpy>=1.26", "torch>=999", "no-such-thing>=1", 'winonly; sys_platform == "win32"')
    found = by_name(checkup.packages())
    assert found["numpy"].state == "ok"
    assert found["torch"].state == found["no-such-thing"].state == "broken"
    assert found["torch"].text == f"{version('torch')}; required: >=999"
    assert found["no-such-thing"].text == "not installed; required: >=1"
    assert found["no-such-thing"].remedy == 'pip install "no-such-thing>=1"'
    assert "winonly" not in found


def test_an_extra_that_is_not_installed_is_absent(asked_for):
    asked_for('no-such-thing>=1; extra == "onnx"', 'numpy>=1; extra == "onnx"')
    extra = by_name(checkup.packages())["extra onnx"]
    assert extra.state == "absent"
    assert extra.text.startswith("optional, not installed: no-such-thing; for ")
    assert extra.remedy == 'pip install "zsrobust[onnx]"'


def test_versions_come_from_what_is_installed():
    with pytest.raises(PackageNotFoundError):
        version("no-such-thing")


def test_damaged_weights_are_broken(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(checkup.EMBEDDED, "glyph-clip", ("another", "one"))
    found = by_name(checkup.models())["glyph-clip"]
    assert (found.state, found.text) == ("broken", "its weights are not those shipped")
    monkeypatch.setattr("zsrobust.models.glyph_clip.WEIGHTS", tmp_path / "none")
    found = by_name(checkup.models())["glyph-clip"]
    assert found.state == "broken"
    assert "missing or damaged" in found.text


def test_models_in_the_caches_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "hub" / "models--org--name").mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / ".cache/clip").mkdir(parents=True)
    (tmp_path / ".cache/clip/RN50.pt").touch()
    found = by_name(checkup.models())
    assert found["hub cache"].text == f"org/name in {tmp_path / 'hub'}"
    assert found["OpenAI's weights"].text == f"RN50.pt in {tmp_path / '.cache/clip'}"


def test_models_that_are_not_there_are_absent(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    found = by_name(checkup.models())
    assert (found["hub cache"].state, found["OpenAI's weights"].state) == ("absent", "absent")


def test_a_full_disk_and_a_wrong_limit_are_broken(monkeypatch, cache):
    monkeypatch.setattr(
        "shutil.disk_usage", lambda place: type("Usage", (), {"free": 5e8, "total": 1e12})
    )
    found = by_name(checkup.storage())
    assert found["disk of this folder"].state == "broken"
    assert found["disk of this folder"].text.startswith("0.5 GB free at ")
    monkeypatch.setenv("ZSROBUST_CACHE_GB", "lots")
    found = by_name(checkup.storage())
    assert found["cache"].state == "broken"
    assert "ZSROBUST_CACHE_GB is 'lots'" in found["cache"].text


def test_what_the_cache_holds_is_counted(cache, monkeypatch):
    (cache / "pixels").mkdir(parents=True)
    with (cache / "pixels" / "a").open("wb") as file:
        file.truncate(1_500_000_000)
    monkeypatch.setenv("ZSROBUST_CACHE_GB", "7.5")
    assert by_name(checkup.storage())["cache"].text == f"{cache}, 1.5 of 7.5 GB taken"


def test_a_cache_that_cannot_be_written_costs_only_time(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZSROBUST_CACHE", str(tmp_path / "file" / "cache"))
    found = by_name(checkup.storage())["cache"]
    assert found.state == "note"
    assert "nothing is cached" in found.text


def test_variables_are_shown_and_a_token_is_not(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("ZSROBUST_DATA", str(tmp_path / "gone"))
    found = list(checkup.variables())
    assert not any("hf_secret" in one.text for one in found)
    assert by_name(found)["HF_TOKEN"].text == "set (for zsrobust push)"
    assert by_name(found)["ZSROBUST_DATA"].text == f"{tmp_path / 'gone'} is not a folder"


def test_a_part_that_fails_does_not_end_the_checkup(monkeypatch, tmp_path, capsys):
    def fail():
        yield Finding("devices", "cpu", "ok", "here")
        raise ImportError("libcudart.so.13: no\nsuch file")

    monkeypatch.setattr(checkup, "devices", fail)
    assert main(["doctor", "--root", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert "this check: ImportError: libcudart.so.13: no such file; install zsrobust again" in out
    assert "not usable until what is broken is repaired" in out
    assert err == "zsrobust: something needed is broken here: this check\n"
    assert "glyph-clip" in out


def test_cuda_devices_are_told_with_their_memory(monkeypatch):
    import torch

    about = type("About", (), {"name": "Card 9000"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: about)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (10e9, 24e9))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
    found = by_name(checkup.devices())["cuda:0"]
    assert found.text == "Card 9000, 10.0 of 24.0 GB free, bfloat16 no"


def test_bad_arguments_are_one_sentence(capsys):
    assert main(["doctor", "now"]) == 2
    error = capsys.readouterr().err
    assert error == "zsrobust: unrecognized arguments: now; see zsrobust doctor --help\n"
