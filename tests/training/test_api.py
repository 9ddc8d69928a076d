"""``zsrobust.finetune`` with a model and data that are objects."""

import copy
import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import zsrobust
from zsrobust.objectives import OBJECTIVES, PMGAFT, objective_class, register_objective
from zsrobust.training import trainer
from zsrobust.utils.errors import RequestError

IMPORTS = "import torch\nfrom zsrobust.objectives import register_objective\n\n\n"


class Colours:
    """As a data set of torch: noisy images of one colour a class."""

    classes = ("red", "green")

    def __init__(self, seed=0, n=16):
        random = np.random.default_rng(seed)
        self.targets = [index % 2 for index in range(n)]
        noise = random.integers(0, 60, (n, 32, 32, 3))
        strong = np.eye(3)[self.targets][:, None, None] * 150
        self.pixels = (noise + strong).astype(np.uint8)

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return torch.from_numpy(self.pixels[index]).permute(2, 0, 1) / 255, self.targets[index]


@pytest.fixture(autouse=True)
def registered():
    """Losses of the user's own, gone after each test."""
    before = dict(OBJECTIVES)
    for loss in (a_loss, unasked_view, misspelt):
        register_objective(loss.__name__)(loss)
    yield
    OBJECTIVES.clear()
    OBJECTIVES.update(before)


@pytest.fixture
def tuned(small_clip, tmp_path):
    def run(config="tecoa", **changes):
        options = {"model": small_clip, "data": Colours(), "out": str(tmp_path / "run")}
        options |= {"steps": 2, "batch_size": 4, "hold_out": 0.25, "device": "cpu"}
        options |= {"optimizer": {"lr": 0.01, "warmup_steps": 0}}
        return zsrobust.finetune(config, **{**options, **changes})

    return run


def test_objects_train_as_their_names_do(tuned, small_clip, tmp_path):
    model = zsrobust.load(small_clip)
    before = copy.deepcopy(model.encoder.state_dict())
    done = tuned(model=model)
    other = tuned(out=str(tmp_path / "other"))
    assert all(torch.equal(before[name], t) for name, t in model.encoder.state_dict().items())
    one, two = (zsrobust.load(str(run.folder)) for run in (done, other))
    weights = [found.encoder.state_dict() for found in (one, two)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in before)
    assert any(not torch.equal(weights[0][name], before[name]) for name in before)
    # Other sets in memory are not taken for the one that was trained on.
    assert one.seen == {"colours"}
    config = yaml.safe_load((Path(done.folder) / "config.yaml").read_text())
    assert (config["model"], config["data"]) == (small_clip, "memory:colours")


def test_a_run_folder_answers_for_the_same_pixels_alone(tuned, monkeypatch):
    first = tuned()
    monkeypatch.setattr(trainer.TrainingStep, "__call__", None)
    assert tuned() == first
    changed = Colours()
    changed.pixels[3, 0, 0, 0] ^= 1
    with pytest.raises(RequestError, match=r"training images, .* are not those that"):
        tuned(data=changed)
    with pytest.raises(RequestError, match=r"holds another run \(seed: 0 there, 1 asked"):
        tuned(seed=1)


def test_an_objective_that_is_given_replaces_the_recipes(tuned):
    folder = Path(tuned(objective=PMGAFT(preset="paper", alpha=2.0), steps=1).folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config["method"] == "pmg_aft"
    assert (config["objective"]["preset"], config["objective"]["alpha"]) == ("paper", 2.0)


def a_loss(step, weight=2.0):
    logits = step.classifier.logits(step.student["adversarial"])
    return weight * torch.nn.functional.cross_entropy(logits, step.labels)


@pytest.mark.parametrize("recipe", ["tecoa", "pmg_aft"])
@pytest.mark.parametrize("objective", ["a_loss", a_loss, "an instance"])
def test_a_loss_of_ones_own_is_named_or_given(tuned, recipe, objective):
    objective = objective_class("a_loss")() if objective == "an instance" else objective
    folder = Path(tuned(recipe, objective=objective, steps=1).folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert (config["method"], config["objective"]["weight"]) == ("a_loss", 2.0)


def test_a_loss_in_a_file_or_a_class_is_named_or_given(tuned, tmp_path):
    file = tmp_path / "losses.py"
    source = f'@register_objective("in_a_file")\n{inspect.getsource(a_loss)}'
    file.write_text(IMPORTS + source)
    folder = Path(tuned(objective=f"{file}:in_a_file", steps=1, out=str(tmp_path / "a")).folder)
    assert yaml.safe_load((folder / "config.yaml").read_text())["method"] == f"{file}:in_a_file"
    folder = Path(tuned(objective=PMGAFT, steps=1, out=str(tmp_path / "b")).folder)
    assert yaml.safe_load((folder / "config.yaml").read_text())["method"] == "pmg_aft"


def unasked_view(step):
    return 1 - torch.cosine_similarity(step.student["clean"], step.student["adversarial"])


def misspelt(step):
    return step.labells


@pytest.mark.parametrize(
    ("objective", "error", "why"),
    [
        (unasked_view, RequestError, r"step\.student\['clean'\] is not there"),
        (misspelt, AttributeError, "labells"),
    ],
)
def test_a_loss_that_fails_does_so_before_any_long_work(
    tuned, monkeypatch, tmp_path, objective, error, why
):
    monkeypatch.setattr(trainer, "evaluate_held_out", None)
    with pytest.raises(error, match=why):
        tuned(objective=objective)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("objective", [3, {"alpha": 1}, len, dict])
def test_what_is_no_objective_is_refused(tuned, objective):
    with pytest.raises(RequestError, match=r"^objective is .*: give a name as after --method"):
        tuned(objective=objective)
    with pytest.raises(RequestError, match="no method 'tecoah': did you mean tecoa"):
        tuned(objective="tecoah")


@pytest.mark.parametrize(("asked", "noted"), [("clip", True), ("squash", False)])
def test_another_resize_than_the_models_own_is_said(tuned, monkeypatch, capfd, asked, noted):
    load = zsrobust.load
    squashing = lambda *a, **k: replace(load(*a, **k), loader_resize="squash")  # noqa: E731
    monkeypatch.setattr("zsrobust.training.finetune.load", squashing)
    tuned(steps=1, loader_resize=asked)
    said = " ".join(capfd.readouterr().err.split())
    assert ("loader_resize squash keeps the model's own" in said) == noted


def test_what_a_run_folder_could_not_bring_back_is_refused(tuned, small_clip, tmp_path):
    changed = zsrobust.load(small_clip)
    with torch.no_grad():
        next(changed.encoder.parameters()).add_(1)
    own = zsrobust.CLIPModel.from_encoder(
        "mine", torch.nn.Flatten(), lambda prompts: torch.rand(len(prompts), 3072), image_size=32
    )
    renamed = replace(zsrobust.load(small_clip), name="nowhere")
    for model, why in (
        (changed, "has other weights.* BASE@FILE"),
        (renamed, "is in memory alone.* BASE@FILE"),
        (own, r"made of two encoders.* local-dir:FOLDER .* a loop of your own"),
    ):
        with pytest.raises(RequestError, match=why):
            tuned(model=model)
    # As advised.
    torch.save(changed.encoder.state_dict(), tmp_path / "changed.pt")
    assert tuned(model=f"{small_clip}@{tmp_path}/changed.pt", steps=1)
    with pytest.raises(RequestError, match="data is a int"):
        tuned(data=3)
    recipe = zsrobust.recipe("tecoa", model=small_clip, data="digits")
    with pytest.raises(RequestError, match="options with a recipe"):
        tuned(recipe)
