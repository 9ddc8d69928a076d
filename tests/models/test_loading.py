import copy

import pytest
import torch
from torch import nn

from zsrobust.models import loading, weights
from zsrobust.models.clip import CLIPModel
from zsrobust.models.loading import load
from zsrobust.models.names import check_name
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.weights import save_model
from zsrobust.utils.errors import RequestError


@pytest.fixture
def run(tmp_path, tiny):
    """A finished run's folder, fine-tuned under the authors' preprocessing."""
    model = load(tiny, preprocessing="authors_code")
    model.encoder.proj.data.zero_()
    save_model(tmp_path / "run" / "model", model, "tecoa")
    return tmp_path / "run"


@pytest.mark.parametrize("part", ["", "model"])
def test_a_run_folder_is_its_selected_model(run, part):
    model = load(str(run / part))
    assert model.encoder.proj.count_nonzero() == 0
    assert model.name == str(run / "model")
    assert model.source == "tiny-vit/random"
    assert model.preprocessing.protocol == "authors_code"


def test_preprocessing_overrides_the_folder_but_not_the_statistics(local_dir, tmp_path):
    folder, _ = local_dir()
    source = load(f"local-dir:{folder}", preprocessing="authors_code")
    save_model(tmp_path / "tuned", source, "tecoa")
    assert load(str(tmp_path / "tuned")).preprocessing.describe()["mean"] == [0.485, 0.456, 0.406]
    back = load(str(tmp_path / "tuned"), preprocessing="clip")
    assert back.preprocessing.describe()["mean"] == [0.5, 0.4, 0.3]


def test_an_unknown_preprocessing_is_refused(tiny):
    with pytest.raises(RequestError, match="preprocessing 'foo' is unknown"):
        load(tiny, preprocessing="foo")


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(RequestError, match=r"holds no model.*the run has not finished"):
        load(str(tmp_path))


def test_a_folder_may_be_called_after_a_model(run, tiny, monkeypatch):
    run.rename(run.with_name("photo-lite-tecoa"))
    monkeypatch.chdir(run.parent)
    assert load("photo-lite-tecoa").source == tiny


def test_a_source_that_is_gone_is_named(run, monkeypatch):
    import open_clip

    monkeypatch.delitem(open_clip.factory._MODEL_CONFIGS, "tiny-vit")
    with pytest.raises(RequestError, match="'tiny-vit/random'"):
        load(str(run))


def test_the_encoder_is_in_evaluation_mode_on_the_device(tiny):
    model = load(tiny, device="meta")
    assert not model.encoder.training
    assert model.encoder.proj.device.type == "meta"
    classifier = model.classifier(("dog", "cat"))
    assert classifier.class_embeddings.device.type == "meta"
    assert classifier.preprocessing.mean.device.type == "meta"


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_nan_and_infinite_weights_are_refused_by_name(tiny, tmp_path, value):
    model = load(tiny)
    with torch.no_grad():
        model.encoder.proj[1, 2] = value
    save_model(tmp_path / "lost", model, "pmg_aft")
    with pytest.raises(RequestError, match=r"lost: proj of its image encoder holds nan or infinit"):
        load(str(tmp_path / "lost"))


@pytest.mark.parametrize(
    "name", ["glyph-clip/a", "photo-lite/x", "hf-hub/x", "tiny-vit/a", "a@b", "wise(a)", "a, b"]
)
def test_a_run_folder_is_found_whatever_its_first_part_is_called(run, name, monkeypatch):
    monkeypatch.chdir(run.parent)
    (run.parent / name).parent.mkdir(exist_ok=True)
    run.rename(run.parent / name)
    assert load(name).method == "tecoa"
    assert load(f"ttc(./{name})" if "," not in name else name).source == "tiny-vit/random"


def test_a_published_model_is_not_hidden_by_a_folder(run, tiny, monkeypatch):
    monkeypatch.chdir(run.parent)
    run.rename(run.parent / "glyph-clip-robust")
    assert load("glyph-clip-robust").source == "glyph-clip"
    assert load("./glyph-clip-robust").source == tiny
    # The source of a run is asked for by name, too.
    (run.parent / "tiny-vit").mkdir()
    (run.parent / "glyph-clip-robust").rename(run.parent / tiny)
    assert load(tiny).method == "original"
    assert load(f"./{tiny}").method == "tecoa"


def test_the_home_folder_wherever_a_path_begins(run, local_dir, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    local_dir()
    assert load("~/run").method == "tecoa"
    assert "tecoa" in load("ttc(~/run, steps=0)").method
    assert load("local-dir:~/hub-format").source == f"local-dir:{tmp_path}/hub-format"
    weights = load("~/run").encoder.state_dict()
    torch.save(weights, tmp_path / "file.pt")
    assert load(f"{tiny}@~/file.pt").encoder.proj.count_nonzero() == 0


def test_a_run_without_a_model_names_the_resuming_command(tmp_path):
    (tmp_path / "my run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(RequestError, match=r"no model yet.*--config '.*my run/config.yaml'"):
        load(str(tmp_path / "my run"))


@pytest.mark.parametrize(
    "name",
    [
        *("ttc(glyph-clip", "ttc(glyph-clip))", "TTC(glyph-clip)", "ttc (glyph-clip)"),
        *("noise(glyph-clip)", "transfer(pgd-2, glyph-clip)", "glyph-clip)"),
    ],
)
def test_forms_written_otherwise_are_answered_with_those_there_are(name):
    with pytest.raises(
        RequestError, match=r"wise\(MODEL, ALPHA\) or a defence.* ttc .*; transfer.* attack"
    ):
        load(name)


def test_prompts_of_a_classifier_are_checked():
    model = load("glyph-clip")
    assert model.classifier(["circle", "square"], ["a {}"]).templates == ("a {}",)
    for templates in (["a photo"], ["a {} {thing}"], ["{} {}"], "a {}"):
        with pytest.raises(RequestError, match="templates is"):
            model.classifier(["circle", "square"], templates)
    with pytest.raises(RequestError, match="class_names is"):
        model.classifier("circle")


def is_channels_last(tensor):
    return tensor.stride() == tensor.clone(memory_format=torch.channels_last).stride()


class Convolutions(nn.Sequential):
    """Whether what reaches each of them, and its weight, is channels-last is in ``found``."""

    def __init__(self, *convolutions):
        super().__init__(*convolutions)
        self.found = []
        for convolution in convolutions:
            convolution.register_forward_hook(self.look)

    def look(self, module, inputs, _):
        self.found.append((is_channels_last(inputs[0]), is_channels_last(module.weight)))


@pytest.mark.parametrize("given", [torch.contiguous_format, torch.channels_last])
def test_only_strided_pointwise_convolutions_of_few_channels_are_not_channels_last(
    monkeypatch, given
):
    encoder = Convolutions(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.Conv2d(8, 8, 1, stride=2),
        nn.Conv2d(8, 16, 1),
        nn.Conv2d(16, 16, 1, stride=2),
        nn.Conv2d(16, 16, 1, stride=2, groups=16),
    )
    model = CLIPModel("mine", encoder, None, Preprocessing("clip", 96), 1.0)
    monkeypatch.setattr(weights, "mine", lambda name: model, raising=False)
    monkeypatch.setitem(loading.LOADERS, "mine", "zsrobust.models.weights:mine")
    images = torch.rand(2, 3, 96, 96).contiguous(memory_format=given)
    expected = encoder(images)
    loaded = copy.deepcopy(load("mine").encoder)
    loaded.found.clear()
    torch.testing.assert_close(loaded(images), expected)
    assert [last for _, last in loaded.found] == [True, False, True, True, True]
    assert loaded.found[1] == (False, False)


def test_a_checkpoint_file_alone_is_told_how_to_be_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "epoch_3.pt").write_bytes(b"weights")
    with pytest.raises(RequestError, match=r"'epoch_3\.pt' is a file: write BASE@epoch_3\.pt"):
        load("epoch_3.pt")


def test_a_model_is_printed_in_a_line():
    printed = repr(load("glyph-clip"))
    assert "glyph-clip" in printed
    assert "\n" not in printed
    assert len(printed) < 100


@pytest.mark.parametrize("refuse", [load, check_name])
def test_a_defence_of_ones_own_without_its_model_is_told_how_to_write_it(refuse, tmp_path):
    (tmp_path / "mine.py").write_text("def quantise(classifier): return classifier")
    name = f"{tmp_path}/mine.py:quantise"
    with pytest.raises(RequestError, match=r"names no model: write .*mine\.py:quantise\(MODEL\)$"):
        refuse(name)
