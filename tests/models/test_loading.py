import pytest
import torch

from zsrobust.errors import RequestError
from zsrobust.models.loading import load
from zsrobust.models.weights import save_model


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


def test_preprocessing_overrides_the_folders_and_keeps_the_towers_statistics(local_dir, tmp_path):
    folder, _ = local_dir()
    source = load(f"local-dir:{folder}", preprocessing="authors_code")
    save_model(tmp_path / "tuned", source, "tecoa")
    assert load(str(tmp_path / "tuned")).preprocessing.describe()["mean"] == [0.485, 0.456, 0.406]
    back = load(str(tmp_path / "tuned"), preprocessing="clip")
    assert back.preprocessing.describe()["mean"] == [0.5, 0.4, 0.3]


def test_an_unknown_preprocessing_is_refused(tiny):
    with pytest.raises(RequestError, match="preprocessing 'foo' is unknown"):
        load(tiny, preprocessing="foo")


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(RequestError, match=r"holds no model.*the run has not finished"):
        load(str(tmp_path))


def test_a_folder_may_be_called_after_a_model(run, tiny, monkeypatch):
    run.rename(run.with_name("photo-lite-tecoa"))
    monkeypatch.chdir(run.parent)
    assert load("photo-lite-tecoa").source == tiny


def test_a_source_that_is_gone_is_named(run, monkeypatch):
    import open_clip

    monkeypatch.delitem(open_clip.factory._MODEL_CONFIGS, "tiny-vit")
    with pytest.raises(RequestError, match="'tiny-vit/random' is unknown"):
        load(str(run))


def test_the_encoder_is_in_evaluation_mode_on_the_device(tiny):
    model = load(tiny, device="meta")
    assert not model.encoder.training
    assert model.encoder.proj.device.type == "meta"
    classifier = model.classifier(("dog", "cat"))
    assert classifier.class_embeddings.device.type == "meta"
    assert classifier.preprocessing.mean.device.type == "meta"


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused_by_name(tiny, tmp_path, value):
    model = load(tiny)
    with torch.no_grad():
        model.encoder.proj[1, 2] = value
    save_model(tmp_path / "lost", model, "pmg_aft")
    with pytest.raises(RequestError, match=r"lost: proj of its image encoder holds nan or infinit"):
        load(str(tmp_path / "lost"))
