"""Downloads by the real huggingface_hub from a hub on this machine, and what goes wrong in them."""

import hashlib
import os
import re
import subprocess
import sys
from importlib.util import find_spec

import open_clip
import pytest
import torch
from huggingface_hub import constants, file_download
from open_clip.push_to_hf_hub import save_for_hf
from safetensors.torch import save
from tests.loopback_hub import Fault

from zsrobust.models import hub as hub_files
from zsrobust.models.loading import load
from zsrobust.utils.errors import RequestError

TAG = "timm/vit_base_patch32_clip_224.openai"
FILE = "open_clip_model.safetensors"
BLOCK = 100_000
"""Bytes in which content is read here, so that small files break in the middle, too."""


@pytest.fixture
def hub(loopback_hub, monkeypatch):
    """A hub whose files are read in small pieces."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", BLOCK)
    monkeypatch.setattr(hub_files, "_BLOCK", BLOCK)
    return loopback_hub


@pytest.fixture
def impatience():
    """While it lasts, silence is noticed soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
        patch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.2)
        patch.setattr(file_download, "_ETAG_RETRY_TIMEOUT", 0.2, raising=False)
        yield patch


@pytest.fixture
def weights(hub, architecture):
    """Random weights of the tag openai of a small ViT-B-32, in the repository it points to."""
    architecture("ViT-B-32")
    with torch.random.fork_rng():
        torch.manual_seed(7)
        state = open_clip.create_model("ViT-B-32").state_dict()
    hub.publish(TAG, {FILE: save(state)})
    return state


def assert_has(model, state):
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, state[f"visual.{name}"]), name


def refusal(name="ViT-B-32/openai"):
    with pytest.raises(RequestError) as error:
        load(name)
    said = str(error.value)
    assert "\n" not in said
    return said


def blobs(hub):
    return list((hub.root.parent / "hub-cache").glob("models--*/blobs/*"))


def test_the_first_use_downloads_and_the_second_asks_nothing(hub, weights):
    assert_has(load("ViT-B-32/openai"), weights)
    assert hub.paths("/cdn/") == [f"/cdn/{TAG}/{FILE}"]
    hub.asked.clear()
    assert_has(load("ViT-B-32/openai"), weights)
    assert not hub.asked


def test_offline_what_is_cached_loads_and_else_the_command_is_named(hub, weights, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert f"`hf download {TAG}`" in refusal()
    assert not hub.asked
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    load("ViT-B-32/openai")
    hub.asked.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert_has(load("ViT-B-32/openai"), weights)
    assert not hub.asked


def test_the_token_goes_to_the_hub_and_not_to_the_host_of_large_files(hub, weights, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    load("ViT-B-32/openai")
    sent = {one.path.split("/")[1]: one.token for one in hub.asked if one.path != "/"}
    assert sent["timm"] == "Bearer hf_of_the_test"
    assert sent["cdn"] == ""


def test_a_download_that_breaks_goes_on_where_it_was(hub, weights):
    hub.faults.append(Fault("/cdn/", cut_after=2 * BLOCK + 50, times=1))
    assert_has(load("ViT-B-32/openai"), weights)
    assert [one.range for one in hub.asked if "/cdn/" in one.path] == ["", f"bytes={2 * BLOCK}-"]


def test_a_download_that_breaks_again_and_again_ends(hub, weights):
    hub.faults.append(Fault("/cdn/", cut_after=0))
    assert f"could not be had from {hub.address}/{TAG}: " in refusal()
    assert not blobs(hub)
    hub.faults.clear()
    assert_has(load("ViT-B-32/openai"), weights)


def test_wrong_bytes_are_noticed_by_their_sha256_and_not_kept(hub, weights):
    content = (hub.root / TAG / FILE).read_bytes()
    hub.faults.append(Fault("/cdn/", flipped=True, times=1))
    assert f"SHA-256 is not {hashlib.sha256(content).hexdigest()}" in refusal()
    assert not blobs(hub)
    assert_has(load("ViT-B-32/openai"), weights)


ANSWERS = {
    "404, no such file": (Fault("/resolve/", 404, "EntryNotFound"), "404 Not Found for http"),
    "401, private or gone": (Fault("/resolve/", 401), "does not exist, or is private: .*hf auth"),
    "401, a bad token": (
        Fault("/resolve/", 401, message="Invalid credentials in Authorization header"),
        "401 Unauthorized: your token is not valid",
    ),
    "403, gated": (Fault("/resolve/", 403, "GatedRepo"), "accept the conditions at http"),
    "403": (Fault("/resolve/", 403), "answers 403 Forbidden"),
    "429": (Fault("/resolve/", 429), "429 Too Many Requests: try again later"),
    "503": (Fault("/resolve/", 503), "answers 503 Service Unavailable: try again later"),
    "503 of the large file": (Fault("/cdn/", 503), "answers 503 Service Unavailable: try again"),
    "404 of the large file": (Fault("/cdn/", 404), "404 Not Found for http"),
    "slow": (Fault("/resolve/", stalled=True), "did not answer in time: try again later"),
    "slow with the large file": (Fault("/cdn/", stalled=True), "did not answer in time"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_what_the_hub_answers_instead_is_said_in_a_sentence(hub, weights, kind, request):
    fault, sentence = ANSWERS[kind]
    hub.faults.append(fault)
    if fault.stalled:
        impatience = request.getfixturevalue("impatience")
    said = refusal()
    assert said.startswith("the weights of ViT-B-32/openai ")
    assert re.search(sentence, said), said
    hub.faults.clear()
    if fault.stalled:
        impatience.undo()
    assert_has(load("ViT-B-32/openai"), weights)


def test_a_hub_that_is_dead_is_said(hub, weights, impatience):
    impatience.setattr(hub_files, "PATIENCE_S", 0.2)
    hub.faults.append(Fault("/", stalled=True))
    assert re.search("it cannot reach http.*`hf download timm", refusal())


@pytest.mark.slow
def test_from_the_command_line_it_is_one_sentence(hub, tmp_path):
    hub.faults.append(Fault("/resolve/", 404, "EntryNotFound"))
    argv = ["evaluate", "--model", "ViT-B-32/openai", "--data", "digits", "--device", "cpu"]
    ended = subprocess.run(
        [sys.executable, "-m", "zsrobust", *argv, "--out", str(tmp_path / "out")],
        env={**os.environ, **hub.environment(tmp_path / "hf")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    (told,) = ended.stderr.splitlines()
    assert told.startswith("zsrobust: ")
    assert "404 Not Found" in told


def test_files_in_xet_storage_come_without_xet(hub, weights):
    hub.xet = True
    assert_has(load("ViT-B-32/openai"), weights)


@pytest.mark.skipif(find_spec("hf_xet") is None, reason="hf_xet is not installed")
class TestXet:
    @pytest.fixture(autouse=True)
    def xet(self, hub, monkeypatch):
        hub.xet = True
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)

    def test_files_come_by_hf_xet(self, hub, weights):
        assert_has(load("ViT-B-32/openai"), weights)
        assert hub.paths("/xorb/")
        assert not hub.paths("/cdn/")

    def test_wrong_bytes_are_noticed(self, hub, weights):
        hub.faults.append(Fault("/xorb/", flipped=True))
        assert "ViT-B-32/openai c" in refusal()
        assert not blobs(hub)
        hub.faults.clear()
        assert_has(load("ViT-B-32/openai"), weights)

    def test_storage_that_is_closed_is_said(self, hub, weights):
        hub.faults.append(Fault("/xet-read-token/", 503))
        assert "answers 503 Service Unavailable: try again later" in refusal()


@pytest.fixture
def repository(hub, tmp_path, architecture):
    """me/clip, a small random model in the format that open_clip pushes; its files as asked."""

    class CLIPTokenizer:
        def save_pretrained(self, folder): ...

    def publish(safetensors=True):
        config = architecture("of-the-hub")
        with torch.random.fork_rng():
            torch.manual_seed(8)
            model = open_clip.create_model("of-the-hub").eval()
        open_clip.model.set_model_preprocess_cfg(model, {"mean": (0.5,) * 3, "std": (0.2,) * 3})
        save_for_hf(model, CLIPTokenizer(), config, str(tmp_path / "pushed"), safetensors)
        folder = hub.root / "me" / "clip"
        folder.parent.mkdir(parents=True)
        (tmp_path / "pushed").rename(folder)
        return model.state_dict()

    return publish


@pytest.mark.parametrize("safetensors", [True, False])
def test_a_repository_of_open_clip_loads(hub, repository, safetensors):
    state = repository(safetensors)
    model = load("hf-hub:me/clip")
    assert_has(model, state)
    assert model.preprocessing.describe()["mean"] == [0.5, 0.5, 0.5]
    hub.asked.clear()
    load("hf-hub:me/clip")
    assert not hub.asked


def test_pickled_weights_do_not_stand_in_for_safetensors_that_fail(hub, repository):
    repository("both")
    hub.faults.append(Fault(FILE, 503))
    assert "answers 503" in refusal("hf-hub:me/clip")


def test_a_missing_repository_is_said(hub):
    assert f"{hub.address}/me/gone does not exist, or is private" in refusal("hf-hub:me/gone")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
class TestAddresses:
    """OpenAI's archive, whose address has its SHA-256 in it, and other plain addresses."""

    @pytest.fixture
    def archive(self, hub, whole, tmp_path):
        """The name of a model whose weights are a TorchScript archive behind an address."""
        torch.jit.script(whole).save(tmp_path / "archive.pt")
        content = (tmp_path / "archive.pt").read_bytes()
        path = f"/clip/models/{hashlib.sha256(content).hexdigest()}/ViT-B-32.pt"
        hub.files[path] = content
        return f"tiny-vit/random@{hub.address}{path}"

    @pytest.fixture
    def state(self, whole):
        return whole.state_dict()

    def test_it_is_downloaded_once(self, hub, archive, state):
        model = load(archive)
        assert_has(model, state)
        assert (model.name, model.source) == (archive, "tiny-vit/random")
        hub.asked.clear()
        assert_has(load(archive), state)
        assert not hub.asked

    def test_what_broke_off_is_not_asked_for_again(self, hub, archive, state):
        hub.faults.append(Fault("/clip/", cut_after=BLOCK, times=1))
        hub.faults.append(Fault("/clip/", status=503, times=1))
        assert "503 Service Unavailable" in refusal(archive)
        assert_has(load(archive), state)
        assert [one.range for one in hub.asked] == ["", f"bytes={BLOCK}-", f"bytes={BLOCK}-"]

    def test_other_bytes_than_the_address_promises_are_deleted(self, hub, archive, state, cache):
        hub.faults.append(Fault("/clip/", flipped=True, times=1))
        assert "came damaged" in refusal(archive)
        assert not [path for path in cache.rglob("ViT-B-32.pt*") if path.suffix != ".lock"]
        assert_has(load(archive), state)

    @pytest.mark.parametrize(
        ("fault", "sentence"),
        [
            (Fault("/clip/", 404), "answers 404 Not Found"),
            (Fault("/clip/", 503), "answers 503 Service Unavailable: try again later"),
            (Fault("/clip/", cut_after=0), "the connection broke again and again"),
            (Fault("/clip/", stalled=True), "it cannot reach .*copy it to .*/ViT-B-32.pt"),
        ],
    )
    def test_an_address_that_does_not_serve_it_is_said(
        self, hub, archive, monkeypatch, fault, sentence
    ):
        if fault.stalled:
            monkeypatch.setattr(hub_files, "PATIENCE_S", 0.2)
        hub.faults.append(fault)
        assert re.search(sentence, refusal(archive))

    def test_a_tag_with_an_address_alone_is_open_clips_to_load(
        self, hub, weights, monkeypatch, tmp_path
    ):
        content = tmp_path / "plain.pt"
        torch.save(weights, content)
        digest = hashlib.sha256(content.read_bytes()).hexdigest()
        path = f"/openaipublic/{digest}/ViT-B-32.pt"
        hub.files[path] = content.read_bytes()
        tags = {"openai": {"url": f"{hub.address}{path}", "quick_gelu": True}}
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "ViT-B-32", tags)
        monkeypatch.setenv("HOME", str(tmp_path))
        hub.faults.append(Fault("/openaipublic/", flipped=True))
        assert re.search("SHA256 checksum does not", refusal())
        hub.faults.clear()
        assert_has(load("ViT-B-32/openai"), weights)

    def test_a_checkpoint_in_a_repository_is_a_name(self, hub, visual, tmp_path):
        torch.save(visual, tmp_path / "robust.pt")
        hub.publish("me/towers", {"deep/robust.pt": (tmp_path / "robust.pt").read_bytes()})
        model = load("tiny-vit/random@hf-hub:me/towers/deep/robust.pt")
        assert torch.equal(model.encoder.proj, visual["proj"])
        assert model.source == "tiny-vit/random"
        assert "404 Not Found" in refusal("tiny-vit/random@hf-hub:me/towers/gone.pt")
        assert "write hf-hub:ORG/NAME/FILE" in refusal("tiny-vit/random@hf-hub:me/towers")


@pytest.mark.slow
def test_the_full_vit_b_32_comes_by_its_tag(loopback_hub):
    with torch.random.fork_rng():
        torch.manual_seed(9)
        whole = open_clip.create_model("ViT-B-32", force_quick_gelu=True).half()
    state = {name: tensor.contiguous() for name, tensor in whole.state_dict().items()}
    loopback_hub.publish(TAG, {FILE: save(state)})
    model = load("ViT-B-32/openai")
    assert model.preprocessing.image_size == 224
    assert_has(model, {name: tensor.float() for name, tensor in state.items()})
