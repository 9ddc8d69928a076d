import copy
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

import zsrobust
from zsrobust.attacks import PGD, ThreatModel
from zsrobust.utils.errors import RequestError

NAMES = ("dark", "light")
EPS = 8 / 255


class Brightness(nn.Module):
    """Logits of a threshold at 1/2: robust exactly where the mean is farther from it than eps."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(40.0))

    def forward(self, images):
        lead = self.slope * (images.mean((1, 2, 3)) - 0.5)
        return torch.stack([-lead, lead], dim=1)


class Second(Brightness):
    def forward(self, images):
        return super().forward(images), "and more"


class Rounded(Brightness):
    def forward(self, images):
        return super().forward(images).detach().round()


class Greys:
    """As a data set of torch: images of one grey each, labelled by the threshold."""

    classes = NAMES

    def __init__(self, greys=(0.1, 0.4, 0.48, 0.52, 0.6, 0.9), kind="tensor"):
        self.greys, self.kind = greys, kind

    def __len__(self):
        return len(self.greys)

    def __getitem__(self, index):
        level = round(255 * self.greys[index])
        pixels = np.full((8, 8, 3), level, np.uint8)
        image = {
            "tensor": torch.from_numpy(pixels).permute(2, 0, 1) / 255,
            "bytes": torch.from_numpy(pixels).permute(2, 0, 1),
            "array": pixels,
            "picture": Image.fromarray(pixels),
        }[self.kind]
        return image, int(self.greys[index] > 0.5)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run folders and temporary ones would be in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def evaluate(*models, data=None, **options):
    return zsrobust.evaluate(
        models=list(models) or [Brightness()],
        data=data or Greys(),
        **{"attacks": "pgd-5", "eps": EPS, "device": "cpu", **options},
    )


@pytest.mark.parametrize("kind", ["tensor", "bytes", "array"])
def test_a_module_from_images_to_logits_on_a_data_set_of_torch(kind):
    results = evaluate(data=Greys(kind=kind))
    (row,) = results
    assert (row.model, row.dataset, row.resolution) == ("Brightness", "greys", 8)
    # 0.48 and 0.52 are within 8/255 = 0.031 of the threshold, the others are not.
    assert (row.n, row.clean_acc, row.robust_acc) == (6, 1.0, 4 / 6)
    assert len(results) == 1


def test_nothing_stays_on_disk(tmp_path):
    evaluate()
    assert not [*tmp_path.iterdir()]


def test_given_objects_are_left_as_they_were():
    model = Brightness().train()
    before = copy.deepcopy(model.state_dict())
    evaluate(model)
    assert model.training
    assert model.slope.requires_grad
    assert model.slope.grad is None
    assert torch.equal(before["slope"], model.state_dict()["slope"])


def test_a_run_folder_answers_until_weights_code_or_data_change(monkeypatch):
    asked = []
    forward = Brightness.forward

    def counted(self, images):
        asked.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Brightness, "forward", counted)
    first = evaluate(out="run")
    assert asked
    asked.clear()
    again = evaluate(out="run")
    assert not asked
    assert [(row.key, row.robust_acc) for row in again] == [(r.key, r.robust_acc) for r in first]
    moved = Brightness()
    moved.slope.data.neg_()
    assert evaluate(moved, out="run").rows[0].clean_acc == 0
    # The same labels and ids, and other pixels.
    other = evaluate(data=Greys((0.1, 0.4, 0.45, 0.55, 0.6, 0.9)), out="run")
    assert other.rows[0].robust_acc == 1


def test_the_class_is_part_of_a_models_identity():
    class Bright(Brightness):
        pass

    ours = evaluate(Brightness()).rows[0]
    results = zsrobust.evaluate(
        models={"Brightness": Bright()}, data=Greys(), attacks="pgd-5", eps=EPS, device="cpu"
    )
    assert results.rows[0].model == ours.model
    assert results.rows[0].key != ours.key
    assert any("Bright" in name for name in results.protocol["models"]["Brightness"]["code"])


class Encoder(nn.Module):
    """Nearer to the second axis the brighter; the diagonal is at 1/2."""

    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([1 - mean, mean], dim=1)


def words(prompts):
    return torch.stack([F.one_hot(torch.tensor(int("light" in p)), 2).float() for p in prompts])


def test_a_custom_encoder_with_a_text_side():
    model = zsrobust.CLIPModel.from_encoder(
        "mine", Encoder(), words, image_size=8, mean=(0, 0, 0), std=(1, 1, 1)
    )
    (row,) = evaluate(model, data=Greys(kind="picture"))
    assert (row.model, row.resolution) == ("mine", 8)
    assert (row.clean_acc, row.robust_acc) == (1.0, 4 / 6)


def test_an_image_encoder_that_gives_nonsense_is_refused():
    def given(**options):
        return zsrobust.CLIPModel.from_encoder(
            "mine", **{"encoder": Encoder(), "encode_text": words, "image_size": 8, **options}
        )

    class Wrong(Encoder):
        def __init__(self, change):
            super().__init__()
            self.change = change

        def forward(self, images):
            return self.change(super().forward(images))

    for change, found in (
        (lambda x: x[:1], r"\(1, 2\) for 2 images: must be embeddings \(2, 2\)"),
        (lambda x: x[:, :, None], r"\(2, 2, 1\)"),
        (lambda x: x[:, :1], r"\(2, 1\)"),
        (lambda x: {"x": x}, "dict: must be a tensor"),
    ):
        with pytest.raises(RequestError, match=f"the image encoder gives {found}"):
            evaluate(given(encoder=Wrong(change)))
    with pytest.raises(RequestError, match="encoder is function: must be a torch Module"):
        given(encoder=lambda images: images)
    for scale in (-1.0, 0.0, float("nan"), torch.tensor(float("inf"))):
        with pytest.raises(RequestError, match=r"logit_scale is .*: must be above 0"):
            given(logit_scale=scale)
    learned = nn.Parameter(torch.tensor(100.0).log())
    assert given(logit_scale=learned.exp()).logit_scale == pytest.approx(100)


def test_a_clip_in_memory_is_told_how_to_be_given(small_clip):
    import open_clip
    from transformers import CLIPConfig, CLIPModel

    sizes = {"hidden_size": 8, "num_attention_heads": 1, "num_hidden_layers": 1}
    theirs = CLIPModel(CLIPConfig(text_config=sizes, vision_config=sizes))
    tower = {"layers": 1, "width": 8, "head_width": 8, "image_size": 8, "patch_size": 4}
    text = {"layers": 1, "width": 8, "heads": 1}
    for model, prefix in (
        (theirs, "transformers:FOLDER"),
        (open_clip.CLIP(8, tower, text), "local-dir:FOLDER"),
    ):
        with pytest.raises(RequestError, match=f"name its folder, as {prefix}.*from_encoder"):
            evaluate(model)


def test_a_text_side_that_gives_nonsense_is_refused():
    model = zsrobust.CLIPModel.from_encoder("mine", Encoder(), lambda p: p, image_size=8)
    with pytest.raises(RequestError, match=r"encode_text gives for 2 prompts is list: .* a tensor"):
        evaluate(model)


def test_a_zero_shot_classifier_and_the_data_it_was_made_for():
    classifier = zsrobust.ZeroShotClassifier.from_parts(Encoder(), torch.eye(2), NAMES)
    results = zsrobust.evaluate(
        models={"ours": classifier}, data={"a": Greys(), "b": Greys((0.2, 0.8))}, device="cpu"
    )
    assert [(row.model, row.dataset, row.condition) for row in results] == [
        ("ours", "a", "pgd-10 1/255"),
        ("ours", "b", "pgd-10 1/255"),
    ]
    other = Greys()
    other.classes = ("light", "dark")
    with pytest.raises(RequestError, match=r"classifies 2 classes \(dark, light\).*light, dark"):
        evaluate(classifier, data=other)


def test_loaded_models_are_evaluated_as_their_names_are(small_clip):
    named = evaluate(small_clip, data="digits", samples=20)
    loaded = evaluate(zsrobust.load(small_clip), data="digits", samples=20)
    renamed = zsrobust.evaluate(
        models={"small": small_clip}, data="digits", samples=20, device="cpu", eps=EPS
    )
    assert renamed.rows[0].model == "small"
    assert loaded.rows[0].model == named.rows[0].model
    assert loaded.rows[0].robust_acc == named.rows[0].robust_acc


def test_attacks_bring_their_own_radius():
    attacks = [PGD(ThreatModel(eps=eps), steps=5) for eps in (EPS, 60 / 255)]
    results = evaluate(attacks=[*attacks], eps=None)
    assert [row.condition for row in results] == ["pgd-5 8/255", "pgd-5 60/255"]
    assert [row.robust_acc for row in results] == [4 / 6, 2 / 6]
    with pytest.raises(RequestError, match="eps is for attacks that are named"):
        evaluate(attacks=attacks, eps=EPS)
    mixed = evaluate(attacks=[attacks[0], "noise-2"], eps="1/255")
    assert [row.condition for row in mixed] == ["pgd-5 8/255", "noise-2 1/255"]


def test_rows_as_a_data_frame_and_a_table():
    pandas = pytest.importorskip("pandas")
    results = evaluate(attacks=["pgd-5", "noise-1"])
    frame = results.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame["attack"].tolist() == ["pgd-5", "noise-1"]
    assert frame["robust_acc"].tolist() == [row.robust_acc for row in results]
    assert frame["ci95_robust_low"][0] == results.rows[0].ci95_robust[0]
    assert repr(results) == "<Results: 2 rows of 1 models, 1 data sets, 2 attacks>"
    table = [line for line in str(results).splitlines() if not line.startswith("warning: ")]
    assert len(table) == 3
    assert "66.7" in table[1]
    assert results[0] is results.rows[0]
    assert results[-1].attack == "noise-1"


def test_a_failed_check_is_printed_below_the_table():
    fallen = evaluate(data=Greys(greys=(0.49, 0.51)), attacks=["pgd-5"])
    assert "warning: " not in str(fallen)
    # Its logits are equal but for the image's brightness, which no class depends on.
    constant = nn.Sequential(Brightness(), nn.Linear(2, 2, bias=True))
    nn.init.constant_(constant[1].weight, 1e-4)
    constant[1].bias.data = torch.tensor([5.0, -5.0])
    results = evaluate(constant, data=Greys(greys=(0.1, 0.9) * 20))
    (line,) = [one for one in str(results).splitlines() if "predicts 'dark' for 100.0%" in one]
    assert line.startswith("warning: ")


REFUSED = {
    "evaluate needs models and data": {"models": None, "data": None},
    "models holds a int": {"models": [3]},
    "attacks holds a NoneType": {"attacks": [None]},
    "two models are called Brightness": {"models": [Brightness(), Brightness()]},
    "two data sets are called greys": {"data": [Greys(), Greys()]},
    "no option of evaluate 'epsilon': choose": {"epsilon": 3},
    "no option of pgd 'restart': did you mean restarts": {"pgd": {"restart": 5}},
    "no option of evaluate 'sample': did you mean samples": {"sample": 3},
    "no option of evaluate 'model': did you mean models": {"model": "glyph-clip"},
    "data holds a int": {"data": 3},
    r"gives \(2, 2\) for 2 images: must be logits \(2, 3\)": {
        "data": zsrobust.image_set(Greys(), ("a", "b", "c"))
    },
    "gives tuple: must be a tensor of logits": {"models": Second()},
    "has no gradient with respect to the image": {"models": Rounded()},
    "has no class names": {"data": [[torch.zeros(3, 8, 8), 0]]},
    "takes images of any size": {"data": Greys(kind="picture")},
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_evaluated_is_refused(reason, tmp_path):
    given = {"models": Brightness(), "data": Greys(), "device": "cpu", **REFUSED[reason]}
    with pytest.raises(RequestError, match=reason):
        zsrobust.evaluate(**given)
    assert not [*Path(tmp_path).iterdir()]


class AtOneSize(torch.nn.Module):
    """An encoder of images of 8 pixels a side alone, by torch's own error for others."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(192, 4)

    def forward(self, images):
        return self.linear(images.flatten(1))


def test_an_encoder_of_another_image_size_is_refused_with_its_own_error():
    text = lambda prompts: torch.eye(4)[: len(prompts)]  # noqa: E731
    options = {"data": Greys(), "attacks": "noise-1", "device": "cpu"}
    fits = zsrobust.CLIPModel.from_encoder("mine", AtOneSize(), text, image_size=8)
    zsrobust.evaluate(models=fits, **options)
    wrong = zsrobust.CLIPModel.from_encoder("mine", AtOneSize(), text, image_size=16)
    why = "mine fails on images of 16 by 16 pixels, its image_size: RuntimeError: mat1 and mat2"
    with pytest.raises(RequestError, match=why):
        zsrobust.evaluate(models=wrong, **options)
    why = "mine fails on images of 16 by 16 pixels, the data's resolution: RuntimeError: mat1"
    with pytest.raises(RequestError, match=why):
        zsrobust.evaluate(
            models={"mine": AtOneSize()},
            **{**options, "data": zsrobust.image_set(Greys(), resolution=16)},
        )


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (torch.zeros(8, 8, 3), r"float32 of shape \(8, 8, 3\)"),
        (torch.zeros(8, 8, 3, dtype=torch.int64), r"int64 of shape \(8, 8, 3\)"),
        (np.zeros((3, 8, 8)), r"float64 of shape \(3, 8, 8\)"),
    ],
)
def test_items_that_are_no_images_are_named_as_they_are(image, said):
    with pytest.raises(RequestError, match=f"item 0 is {said}: an image is"):
        zsrobust.image_set([(image, 0), (image, 1)], ["a", "b"], name="wrong")


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64])
def test_tensors_of_any_precision_and_of_a_graph_are_images(kind):
    image = torch.full((3, 8, 8), 0.5, dtype=kind, requires_grad=True)
    found = zsrobust.image_set([(image, 0), (image, 1)], ["a", "b"], name="grey")
    assert np.unique(np.asarray(found.read_rgb(0))).tolist() == [128]


def test_normalised_pixels_and_wrong_labels_are_refused():
    images = [(torch.full((3, 8, 8), 1.5), 0), (torch.zeros(3, 8, 8), 5)]
    with pytest.raises(RequestError, match=r"item 0 lie in \[1.5, 1.5\].*normalisation"):
        zsrobust.image_set(images[:1], NAMES)
    with pytest.raises(RequestError, match="label 5 is outside"):
        zsrobust.image_set(images[1:], NAMES)


ATTACK = """
from zsrobust.attacks import register_attack

@register_attack("shift")
def shift(classifier, images, labels, eps, steps=1):
    return images - (2 * labels[:, None, None, None] - 1) * STRENGTH * eps
"""


def test_an_attack_in_a_file_is_answered_from_its_run_until_the_file_changes(tmp_path, monkeypatch):
    def written(strength):
        (tmp_path / "mine.py").write_text(ATTACK.replace("STRENGTH", str(strength)))

    written(0)
    options = {"attacks": ["mine.py:shift", "mine.py:shift-2"], "out": "run"}
    first = evaluate(**options)
    assert [row.attack for row in first] == ["shift-1", "shift-2"]
    assert [row.robust_acc for row in first] == [1, 1]
    assert first.protocol["attacks"][0]["file"] == "mine.py"
    written(1)
    with pytest.raises(RequestError, match=r"holds another run \(code: .*mine.py sha256"):
        evaluate(**options)
    assert [row.robust_acc for row in evaluate(**options, overwrite=True)] == [4 / 6, 4 / 6]
