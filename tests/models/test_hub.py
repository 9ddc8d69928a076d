import pytest
from huggingface_hub import constants

from zsrobust.models import hub
from zsrobust.utils.errors import RequestError


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_the_cache_comes_first():
    offline = []

    def get():
        offline.append(constants.HF_HUB_OFFLINE)
        return "file"

    assert hub.fetch(get, "x", "org/name") == "file"
    assert offline == [True]
    assert constants.HF_HUB_OFFLINE is False


def test_then_the_network(monkeypatch):
    monkeypatch.setattr(hub, "_answers", lambda url: True)

    def get():
        if constants.HF_HUB_OFFLINE:
            raise FileNotFoundError
        return "file"

    assert hub.fetch(get, "x", "org/name") == "file"


def fail():
    raise OSError("404 for\nthis repository")


def test_without_network_the_message_names_the_command():
    with pytest.raises(RequestError, match=r"the files are not on.*`hf download org/name`"):
        hub.fetch(fail, "the files", "org/name")


def test_a_machine_set_offline_never_asks_the_network(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_answers", lambda url: pytest.fail("asked the network"))
    with pytest.raises(RequestError, match="hf download"):
        hub.fetch(fail, "the files", "org/name")
    assert constants.HF_HUB_OFFLINE is True


def test_what_the_hub_refuses_is_reported(monkeypatch):
    monkeypatch.setattr(hub, "_answers", lambda url: True)
    with pytest.raises(RequestError, match=r"could not be had from .*org/name: 404 for this repo"):
        hub.fetch(fail, "the files", "org/name")
