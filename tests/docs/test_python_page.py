"""The code on the page on Python does what the page says."""

import re
from pathlib import Path

import open_clip
import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

import zsrobust
from zsrobust.attacks import PGD, ThreatModel

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")


def run(marker, **names):
    """Run the one block that holds ``marker``; the names that it leaves."""
    (code,) = (one for one in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if marker in one)
    names |= {"torch": torch, "zsrobust": zsrobust}
    exec(compile(code, "python.md", "exec"), names)
    return names


class Tokens(dict):
    """Of two tokens and the end for every prompt, as a tokenizer of transformers gives them."""

    def __init__(self, prompts, **options):
        ids = torch.tensor([[len(prompt) % 7, len(prompt) % 5, 49407] for prompt in prompts])
        super().__init__(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_clips_in_memory_embed_as_in_their_own_library():
    torch.manual_seed(0)
    names = run("def of_transformers")
    sizes = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 2}
    vision = {**sizes, "image_size": 16, "patch_size": 8}
    theirs = CLIPModel(CLIPConfig(text_config=sizes, vision_config=vision, projection_dim=8)).eval()
    tower = {"layers": 1, "width": 16, "head_width": 8, "image_size": 16, "patch_size": 8}
    text = {"layers": 1, "width": 16, "heads": 2}
    other = open_clip.CLIP(8, tower, text).eval()
    prompts, images = ["a cat", "two dogs"], torch.rand(2, 3, 16, 16)
    made = names["of_transformers"](theirs, Tokens, 16)
    pixels = made.preprocessing(images)
    with torch.no_grad():
        wanted = theirs(pixel_values=pixels, **Tokens(prompts))
        ours = F.normalize(made.encoder(pixels), dim=-1)
        assert torch.allclose(ours, wanted.image_embeds, atol=1e-5)
        assert torch.allclose(made.text.encode(prompts, ["{}"]), wanted.text_embeds, atol=1e-5)
        logits = made.classifier(prompts, ["{}"])(images)
        assert torch.allclose(logits, wanted.logits_per_image, atol=1e-4)
        tokenizer = open_clip.get_tokenizer("ViT-B-32")
        made = names["of_open_clip"](other, tokenizer, 16)
        _, logits_of_text = other.get_logits(pixels, tokenizer(prompts))
        assert torch.allclose(made.classifier(prompts, ["{}"])(images), logits_of_text.T, atol=1e-4)


def loss_under_attack(classifier, images, labels, adversarial):
    return [F.cross_entropy(classifier(each), labels).item() for each in (images, adversarial)]


def test_an_attack_on_a_module_of_ones_own():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 3)).train()
    given = {"net": net, "class_names": ["a", "b", "c"]}
    images, labels = torch.rand(6, 3, 4, 4), torch.arange(6) % 3
    names = run("LogitsClassifier", images=images, labels=labels, **given)
    found = names["adversarial"]
    assert (found - images).abs().max() <= 4 / 255 + 1e-6
    clean, attacked = loss_under_attack(net, images, labels, found)
    assert attacked > clean
    assert net.training
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
    ids = [str(place) for place in range(6)]
    attack = PGD(ThreatModel(eps=4 / 255))
    assert torch.equal(attack(names["classifier"], images, labels, ids), found)


def test_an_objective_in_a_loop_of_ones_own():
    torch.manual_seed(0)
    images, labels = torch.rand(8, 3, 32, 32), torch.arange(8) % 2
    names = run(
        "StepContext",
        loader=[(images, labels)] * 3,
        class_names=["circle", "square"],
        PGD=PGD,
        ThreatModel=ThreatModel,
    )
    before, after = names["teacher"], names["student"]
    attacked = [
        loss_under_attack(one, images, labels, names["attack"](one, images, labels))[1]
        for one in (before, after)
    ]
    assert attacked[1] < attacked[0]


@pytest.mark.slow
def test_the_fine_tuning_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run("zsrobust.finetune(")
    assert names["run"].steps == 20
    assert names["embeddings"].shape[0] == 2
    assert names["model"].method == "tecoa"
