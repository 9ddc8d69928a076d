"""zoo:NAME: what the list says, and a model of each loading way through a hub on this machine."""

import re

import open_clip
import pytest
import torch
from open_clip.push_to_hf_hub import save_for_hf
from safetensors.torch import save
from tests.loopback_hub import LoopbackHub
from torch.nn import functional as F

from zsrobust.cli.main import main
from zsrobust.data.published.sets import published_sets
from zsrobust.evaluation.results import Results
from zsrobust.models import hub as hub_files
from zsrobust.models.loading import load
from zsrobust.models.names import PACKAGED, check_name
from zsrobust.models.protocols import CLIP_MEAN, PROTOCOLS
from zsrobust.models.zoo import ZOO, entries, entry_of
from zsrobust.utils.errors import RequestError

NAMES = [name for name in entries() if name.startswith(ZOO)]


def test_the_embedded_models_are_all_listed_first():
    assert set(entries()) - set(NAMES) == set(PACKAGED)
    assert list(entries())[len(PACKAGED) :] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_entry_is_well_formed(name):
    entry = entries()[name]
    check_name(name)
    check_name(entry.load)
    assert entry.architecture in open_clip.list_models()
    assert entry.px == open_clip.get_model_config(entry.architecture)["vision_cfg"][
        "image_size"
    ] or (entry.px == 336)
    if entry.base:
        architecture, _, tag = entry.base.rpartition("/")
        assert architecture == entry.architecture
        assert open_clip.get_pretrained_cfg(architecture, tag)
    assert re.fullmatch(r"[124]/25[56]|not stated", entry.eps)
    assert entry.preprocessing in ("", *PROTOCOLS)
    assert re.match(r"arXiv:\d{4}\.\d{5}", entry.paper)
    assert entry.licence in ("MIT", "MIT (its repository)", "CC-BY-4.0", "not stated")
    assert all(one == "imagenet" or " " in one for one in entry.trained_on)


@pytest.mark.parametrize("name", [name for name in NAMES if entries()[name].claims])
def test_claims_fall_with_the_radius_and_are_over_sets_of_this_package(name):
    claims = entries()[name].claims
    values = [claims.clean, *claims.robust.values()]
    assert values == sorted(values, reverse=True)
    assert all(0 < value < 100 for value in values)
    ours = {re.sub(r"\W", "", kind) for kind in published_sets()}
    assert {re.sub(r"\W", "", one).lower() for one in claims.over} <= ours


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("tecoa1-vit-b-32", [53.1, 38.8, 26.6]),
        ("fare1-vit-b-32", [60.5, 38.0, 20.1]),
        ("fare4-vit-b-32-laion2b", [53.8, 44.4, 35.5]),
        ("fare4-vit-b-16-laion2b", [56.6, 47.7, 39.2]),
        ("fare4-convnext-base-w-laion2b", [60.2, 52.3, 44.1]),
    ],
)
def test_claims_are_those_that_were_noted_apart_from_the_list(name, printed):
    claims = entry_of(f"{ZOO}{name}").claims
    assert [claims.clean, claims.robust["1/255"], claims.robust["2/255"]] == printed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("zoo:fare2", "did you mean zoo:fare2-vit-l-14"),
        ("zoo:fare2-vit-l14", "did you mean zoo:fare2-vit-l-14"),
        ("zoo:glyph", "did you mean glyph-clip or glyph-vit or glyph-clip-robust"),
        ("zoo:qqqqq", "zsrobust models lists them"),
        ("zoo:", "did you mean"),
        ("fare2-vit-l-14", "did you mean zoo:fare2-vit-l-14"),
        ("wise(zoo:fare2, 0.5)", "did you mean zoo:fare2-vit-l-14"),
    ],
)
@pytest.mark.parametrize("check", [check_name, load])
def test_an_unknown_name_is_refused_with_the_nearest(name, message, check):
    with pytest.raises(RequestError, match=message):
        check(name)


@pytest.fixture
def hub(loopback_hub, architecture, monkeypatch) -> LoopbackHub:
    """A hub with OpenAI's ViT-L-14 and ViT-B-32, small and random, and the authors' own server."""
    for index, (name, repository) in enumerate(
        {
            "ViT-L-14": "timm/vit_large_patch14_clip_224.openai",
            "ViT-B-32": "timm/vit_base_patch32_clip_224.openai",
        }.items()
    ):
        architecture(name)
        content = save(random_clip(name, index).state_dict())
        loopback_hub.publish(repository, {"open_clip_model.safetensors": content})
    ask = hub_files.urlopen

    def redirected(request, timeout):
        request.full_url = re.sub("https://nc.mlcloud[^/]*", loopback_hub.address, request.full_url)
        return ask(request, timeout=timeout)

    monkeypatch.setattr(hub_files, "urlopen", redirected)
    return loopback_hub


def random_clip(architecture, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return open_clip.create_model(architecture, force_quick_gelu=True).eval()


def robust_tower(architecture, base_seed=0):
    """A CLIP of another image side than its base, and the same text side."""
    model = random_clip(architecture, base_seed)
    with torch.no_grad():
        model.visual.proj.add_(torch.randn(model.visual.proj.shape, generator=torch.Generator()))
    return model


def saved(content, path):
    torch.save(content, path)
    return path.read_bytes()


class Ways:
    """Publishes a model of each loading way; gives the weights of its image encoder."""

    def __init__(self, hub, folder):
        self.hub, self.folder = hub, folder

    def of_open_clip(self, architecture):
        class CLIPTokenizer:
            def save_pretrained(self, folder): ...

        model = robust_tower("ViT-L-14")
        open_clip.model.set_model_preprocess_cfg(
            model, {"mean": CLIP_MEAN, "std": open_clip.OPENAI_DATASET_STD}
        )
        config = {**architecture("ViT-L-14"), "quick_gelu": True}
        save_for_hf(model, CLIPTokenizer(), config, str(self.folder / "pushed"), False)
        (self.hub.root / "chs20").mkdir()
        (self.folder / "pushed").rename(self.hub.root / "chs20" / "fare2-clip")
        return "zoo:fare2-vit-l-14", model.visual

    def in_a_repository(self, architecture):
        model = robust_tower("ViT-L-14")
        content = saved(model.visual.state_dict(), self.folder / "a.pt")
        self.hub.publish("hossainzarif19/SimCLIP", {"simclip4.pt": content})
        return "zoo:simclip4-vit-l-14", model.visual

    def behind_an_address(self, architecture):
        model = robust_tower("ViT-B-32", 1)
        path = "/index.php/s/cCgQAS8QW9arj9d/download/vitb32_fare_eps_1.pt"
        self.hub.files[path] = saved(model.visual.state_dict(), self.folder / "a.pt")
        return "zoo:fare1-vit-b-32", model.visual

    def of_advflyp(self, architecture):
        model = robust_tower("ViT-B-32", 1)
        tensors = {f"visual.{key}": value for key, value in model.visual.state_dict().items()}
        content = {
            "epoch": 4,
            "state_dict": {},
            "add_prompter": {"module.prompt": torch.zeros(1, 0, 768)},
            "partial_state_dict": tensors,
            "best_acc1": torch.tensor(31.5),
            "optimizer": {"state": {}, "param_groups": []},
        }
        name = "AdvFLYP_full_checkpoint.pth.tar"
        self.hub.publish("xingslong/AdvFLYP", {name: saved(content, self.folder / "a.pt")})
        return "zoo:advflyp-vit-b-32", model.visual


WAYS = [way for way in vars(Ways) if not way.startswith("_")]


@pytest.fixture(params=WAYS)
def published(request, hub, tmp_path, architecture):
    """A zoo model's name, and the image encoder that its repository or address has."""
    return getattr(Ways(hub, tmp_path), request.param)(architecture)


def test_a_model_of_each_loading_way_loads(hub, published):
    name, visual = published
    entry = entries()[name]
    model = load(name)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model.encoder(images), visual(images))
    assert (model.name, model.source, model.method) == (name, entry.base, entry.label)
    assert model.seen == set(entry.trained_on)
    assert model.preprocessing.protocol == (entry.preprocessing or "clip")
    # The text side is the base's.
    base = load(entry.base)
    vectors = [one.text.encode(["cat", "dog"], ["a {}"]) for one in (model, base)]
    assert torch.equal(*vectors)
    hub.asked.clear()
    load(name)
    assert not hub.asked


@pytest.mark.slow
def test_an_evaluation_has_it_by_name_next_to_its_original(hub, tmp_path, architecture, capsys):
    name, _ = Ways(hub, tmp_path).of_open_clip(architecture)
    argv = ["evaluate", "--model", name, "--data", "digits", "--samples", "20"]
    argv += ["--attack", "pgd-2", "--eps", "1/255", "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    assert name in capsys.readouterr().out
    results = Results.read(tmp_path / "out" / "results.json")
    found = [(row.model, row.method) for row in results]
    assert found == [("ViT-L-14/openai", "original"), (name, "FARE 2/255")]
    assert results.protocol["models"][name]["seen"] == ["imagenet"]


def test_it_works_inside_other_names_and_under_another_protocol(hub, published):
    name, visual = published
    base = load(entries()[name].base)
    half = load(f"wise({name}, 0.5)")
    between = (visual.proj + base.encoder.proj) / 2
    torch.testing.assert_close(half.encoder.proj, between)
    defended = load(f"ttc({name})")
    assert defended.defence is not None
    assert defended.defence.undefended.name == name
    assert load(name, preprocessing="authors_code").preprocessing.protocol == "authors_code"


def test_weights_of_transformers_alone_get_clips_tokenizer_and_processor(loopback_hub, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra transformers")
    tower = {"num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        vision_config={
            **tower,
            **{"hidden_size": 32, "intermediate_size": 80, "image_size": 32, "patch_size": 16},
        },
        text_config={**tower, "hidden_size": 16, "intermediate_size": 40},
        projection_dim=24,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        theirs = transformers.CLIPModel(config).eval()
    theirs.save_pretrained(tmp_path / "saved")
    name = "zoo:leaf-vit-l-14"
    repository = entries()[name].load.removeprefix("transformers:")
    (loopback_hub.root / repository).parent.mkdir(parents=True)
    (tmp_path / "saved").rename(loopback_hub.root / repository)
    model = load(name)
    assert (model.name, model.source, model.method) == (name, name, "original")
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    ids = open_clip.SimpleTokenizer(context_length=77)(["a cat", "a photograph of a house"])
    with torch.no_grad():
        found = theirs(pixel_values=images, input_ids=ids)
    embedded = F.normalize(model.encoder(images), dim=-1)
    torch.testing.assert_close(embedded, found.image_embeds, atol=1e-5, rtol=0)
    vectors = [model.text.encode([n], ["a {}"]) for n in ("cat", "photograph of a house")]
    torch.testing.assert_close(torch.cat(vectors), found.text_embeds, atol=1e-5, rtol=0)
    assert model.preprocessing.describe()["mean"] == pytest.approx(list(CLIP_MEAN))


def test_without_network_it_is_one_sentence():
    for name, place in (
        ("zoo:fare2-vit-l-14", "`hf download chs20/fare2-clip`"),
        ("zoo:simclip4-vit-l-14", "`hf download hossainzarif19/SimCLIP`"),
    ):
        with pytest.raises(RequestError, match=place) as error:
            load(name)
        said = str(error.value)
        assert said.startswith(f"{name}: ")
        assert "\n" not in said
