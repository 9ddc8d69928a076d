import numpy as np
import pytest
import torch
from torch import nn

from zsrobust.models import photo_lite
from zsrobust.models.loading import load
from zsrobust.models.zero_shot import ZeroShotClassifier
from zsrobust.utils.errors import RequestError

pytestmark = pytest.mark.slow

CLASSES = ("palace", "flower", "dog", "airplane", "truck", "horse", "ship", "bird")


@pytest.fixture
def extra():
    for package in photo_lite.PACKAGES:
        pytest.importorskip(package, reason='needs the extra "photo"')


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cache(shared_cache, monkeypatch):
    """One for the module: the thousand ImageNet names are then encoded once, not in every test."""
    monkeypatch.setenv("ZSROBUST_CACHE", str(shared_cache))


@pytest.fixture
def photos():
    from sklearn.datasets import load_sample_images

    images = load_sample_images().images
    return torch.stack([torch.tensor(i).permute(2, 0, 1).float() / 255 for i in images])


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("name", ["photo-lite", "photo-lite/without-tiny-imagenet"])
def test_it_tells_a_palace_from_a_flower(name, photos):
    classifier = load(name).classifier(CLASSES)
    assert [CLASSES[i] for i in classifier(photos).argmax(1)] == ["palace", "flower"]


@pytest.mark.usefixtures("extra")
def test_the_image_side_is_the_imagenet_classifiers(photos):
    model = load("photo-lite")
    whole = photo_lite.imagenet_tower()
    with torch.no_grad():
        images = model.preprocessing(photos).double()
        whole.double()
        features = model.encoder.double()(images) + model.encoder.centre
        head = whole.get_classifier()
        logits = features @ head.weight.T + head.bias
        torch.testing.assert_close(logits, whole(images), atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("extra")
def test_imagenet_classes_have_the_classifiers_own_order():
    model = load("photo-lite")
    names = ("goldfish", "tabby cat", "school bus", "espresso")
    weight = photo_lite.imagenet_tower().get_classifier().weight.detach()
    cosines = (
        model.classifier(names).class_embeddings
        @ nn.functional.normalize(weight - weight.mean(0)).T
    )
    # The indices of these classes in ImageNet-1k.
    assert cosines.argmax(1).tolist() == [1, 281, 779, 967]


@pytest.mark.usefixtures("extra")
def test_without_tiny_imagenet_knows_none_of_its_classes():
    from zsrobust.data.names import tiny_imagenet_names

    known = load("photo-lite").text
    fewer = load("photo-lite/without-tiny-imagenet").text
    assert (len(known.names), len(fewer.names)) == (1000, 800)
    assert len(tiny_imagenet_names()) == 200
    assert "goldfish" in known.names
    assert "goldfish" not in fewer.names
    assert known.fingerprint != fewer.fingerprint


@pytest.mark.usefixtures("extra")
def test_the_centre_is_frozen_and_saved():
    encoder = load("photo-lite").encoder
    assert "centre" in encoder.state_dict()
    assert "centre" not in dict(encoder.named_parameters())
    assert encoder.centre.shape == (1280,)


@pytest.mark.usefixtures("extra")
def test_both_forms_say_what_the_image_side_has_seen():
    for name in ("photo-lite", "photo-lite/without-tiny-imagenet"):
        model = load(name)
        assert model.seen == {"imagenet", "tiny-imagenet"}
        assert (model.preprocessing.protocol, model.preprocessing.image_size) == (
            "efficientnet_lite",
            96,
        )


@pytest.mark.usefixtures("extra")
def test_from_parts_gives_the_same_logits(photos):
    model = load("photo-lite")
    whole = model.classifier(CLASSES)
    parts = ZeroShotClassifier.from_parts(
        model.encoder,
        whole.class_embeddings,
        CLASSES,
        preprocessing=model.preprocessing,
        logit_scale=model.logit_scale,
    )
    torch.testing.assert_close(parts(photos), whole(photos))


@pytest.mark.usefixtures("extra")
def test_loading_prints_nothing(recwarn, capfd):
    photo_lite._sentence_encoder.cache_clear()
    load("photo-lite").classifier(CLASSES, ["{}"])
    assert not list(recwarn)
    assert capfd.readouterr() == ("", "")


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RequestError, match=r'pip install "zsrobust\[photo\]"'):
        load("photo-lite")


def test_an_unknown_form_is_refused():
    with pytest.raises(RequestError, match="write photo-lite or photo-lite/without-tiny-imagenet"):
        load("photo-lite/large")


def test_feature_centre_is_the_mean_of_relu6_under_a_normal_law():
    norm = nn.BatchNorm2d(4)
    with torch.no_grad():
        norm.bias.copy_(torch.tensor([-1.0, 0.0, 5.5, 8.0]))
        norm.weight.copy_(torch.tensor([0.5, -2.0, 1.0, 3.0]))
    z = np.linspace(-9, 9, 200_001)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    expected = [
        (np.clip(mean + scale * z, 0, 6) * density).sum() * (z[1] - z[0])
        for mean, scale in zip([-1, 0, 5.5, 8], [0.5, 2, 1, 3], strict=True)
    ]
    np.testing.assert_allclose(photo_lite.feature_centre(norm).numpy(), expected, atol=1e-5)


def test_weights_are_renamed_in_order():
    ours = {"_conv.weight": torch.ones(2, 3), "_bn.bias": torch.zeros(2)}
    wanted = {"conv.weight": torch.empty(2, 3), "bn1.bias": torch.empty(2)}
    renamed = photo_lite.renamed(ours, wanted)
    assert renamed["conv.weight"] is ours["_conv.weight"]
    assert renamed["bn1.bias"] is ours["_bn.bias"]


@pytest.mark.parametrize(
    "wanted",
    [
        {"conv.weight": torch.empty(3, 2), "bn1.bias": torch.empty(2)},
        {"conv.weight": torch.empty(2, 3), "bn1.running_mean": torch.empty(2)},
        {"bn1.bias": torch.empty(2), "conv.weight": torch.empty(2, 3)},
        {"conv.weight": torch.empty(2, 3)},
    ],
)
def test_other_weights_are_refused(wanted):
    ours = {"_conv.weight": torch.ones(2, 3), "_bn.bias": torch.zeros(2)}
    with pytest.raises(RequestError, match="are not those of timm's"):
        photo_lite.renamed(ours, wanted)
