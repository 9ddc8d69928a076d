"""The card says what is so, nothing of this machine, and hostile words stay words."""

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from zsrobust.evaluation.results import Results, Row
from zsrobust.export.card import escaped, fenced, licence_of, public_name
from zsrobust.export.command import export
from zsrobust.export.request import ExportRequest
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint
from zsrobust.utils.errors import RequestError

# As the hub reads it, but for bare addresses, which are shown as they are.
GITHUB = MarkdownIt("gfm-like", {"html": True, "linkify": False})
HOSTILE = "<script>alert(1)</script> | a\n# heading\n[x](http://evil) `c` ![i](j) **b** $m$ @all"


def test_words_from_elsewhere_stay_words():
    tokens = GITHUB.parse(f"Word {escaped(HOSTILE)}")
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children} <= {"text", "text_special"}
    shown = "".join(child.content for child in tokens[1].children)
    assert shown == "Word " + " ".join(HOSTILE.split())


@given(st.text(max_size=40))
def test_any_words_stay_one_paragraph_of_text(words):
    tokens = MarkdownIt("commonmark").parse(f"- name: {escaped(words)}.")
    inline = [token for token in tokens if token.type == "inline"]
    assert len(inline) == 1
    assert {child.type for child in inline[0].children} <= {"text", "text_special"}


def test_a_block_of_code_ends_where_it_should():
    content = "a: '```'\nb: '````'"
    tokens = MarkdownIt("commonmark").parse(fenced(content, "yaml") + "\nafter")
    assert [token.type for token in tokens][:2] == ["fence", "paragraph_open"]
    assert tokens[0].content == content + "\n"


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("ViT-B-32/openai", "ViT-B-32/openai"),
        ("hf-hub:org/name", "hf-hub:org/name"),
        ("local-dir:/home/me/secret/model", "local-dir:model"),
        ("/home/me/runs/pmg", "pmg"),
        ("ViT-B-32/openai@/home/me/tecoa.pth.tar", "ViT-B-32/openai@tecoa.pth.tar"),
    ],
)
def test_names_lose_the_folders_of_this_machine(name, public):
    assert public_name(name) == public


def test_licences_that_are_known_and_those_that_are_not():
    assert licence_of("ViT-B-32/openai").spdx == "mit"
    assert licence_of("glyph-clip").spdx == "mit"
    unknown = licence_of("ViT-B-32/laion2b_s34b_b79k")
    assert unknown.spdx == ""
    assert "https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K" in unknown.text
    assert "huggingface.co/org/name" in licence_of("hf-hub:org/name").text
    zoo = licence_of("zoo:delta-clip-vit-l-14")
    assert "CC-BY-4.0" in zoo.text
    assert "zw123/delta_clip_l14_224" in zoo.text
    assert "huggingface.co/org/name" in licence_of("ViT-B-32/laion@hf-hub:org/name/f.pt").text
    assert licence_of("local-dir:/x").spdx == licence_of("ViT-B-32/openai@f.pt").spdx == ""


@pytest.fixture
def evaluated(tmp_path):
    """Writes the results of a model and its original, counted by hand."""

    def write(model, original, folder="evaluation", **settings):
        attack = {
            "name": "pgd-10",
            "threat": {"norm": "linf", "eps": 1 / 255},
            "steps": 10,
            "logit_scale": None,
        }

        def row(name, method, dataset, n, clean, robust):
            rest = {"model": name, "method": method, "dataset": dataset, "split": "test"}
            rest |= {"attack": "pgd-10", "norm": "linf", "eps": 1 / 255, "resolution": 32}
            return Row.counted(n=n, clean=clean, robust=robust, seen=False, key="k", **rest)

        models = {
            str(tmp_path / "run"): (model, "pmg_aft[paper]"),
            original.name: (original, "original"),
            "another": (None, "tecoa"),
        }
        protocol = {
            "models": {
                name: {
                    "weights": fingerprint(m.encoder) if m else "0",
                    "source": original.source,
                    "method": method,
                    "preprocessing": model.preprocessing.describe() | settings,
                }
                for name, (m, method) in models.items()
            },
            "attacks": [attack],
            "interval": "95 %: Wilson a data set, MOVER an average",
            "robust": "right on the clean image and on the adversarial one; others not attacked",
            "precision": "fp32",
            "seed": 7,
        }
        rows = [
            row(original.name, "original", "birds", 200, 180, 2),
            row(str(tmp_path / "run"), "pmg_aft[paper]", "birds", 200, 150, 90),
            row("another", "tecoa", "birds", 200, 199, 198),
        ]
        Results(protocol, {}, rows).write(tmp_path / folder / "results.json")
        return str(tmp_path / folder)

    return write


def exported(run, tmp_path, **options):
    return export(ExportRequest(run, "tecoa", out=str(tmp_path / "out"), **options)).folder


def test_results_are_those_of_this_model_and_its_original(source, tuned, evaluated, tmp_path):
    name = source(quick_gelu=True)
    run = tuned(name)
    results = evaluated(load(run), load(name))
    card = (exported(run, tmp_path, results=results) / "README.md").read_text("utf-8")
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in card.splitlines()
        if "|" in line
    ]
    rows = {row[2]: row for row in cells if row[0] == "birds"}
    assert rows["this model"][3:] == ["200", "75.0 (68.6-80.5)", "45.0 (38.3-51.9)"]
    assert rows["original"][4].startswith("90.0 (")
    assert "99.5" not in card
    assert "pgd-10: linf 1/255, steps 10" in card
    assert "seed 7" in card


def test_results_of_other_weights_or_pixels_are_refused(source, tuned, evaluated, tmp_path):
    name = source(quick_gelu=True)
    run, original = tuned(name), load(name)
    with pytest.raises(RequestError, match=r"holds no result of .*, with these weights"):
        exported(run, tmp_path, results=evaluated(original, original))
    other = evaluated(load(run), original, folder="squashed", image_size=33)
    with pytest.raises(RequestError, match="this preprocessing: evaluate it first"):
        exported(run, tmp_path, results=other)
    assert not (tmp_path / "out").exists()


def test_nothing_of_this_machine_and_all_of_the_recipe(source, tuned, tmp_path):
    run = tuned(
        source(quick_gelu=True),
        method=f"sum{HOSTILE}",
        seen=frozenset({"birds", f"{tmp_path}/private/birds"}),
        default_templates=("a ``` {} <b>",),
    )
    config = {"method": "sum", "model": f"local-dir:{tmp_path}/m", "out": f"{tmp_path}/run"}
    config |= {"data": f"imagefolder:{tmp_path}/x", "attack": {"eps": "4/255"}, "seed": 3}
    config |= {"templates": ["a ``` {} <b>"]}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    folder = exported(run, tmp_path)
    mark = json.loads((folder / "zsrobust_export.json").read_text())
    card = (folder / "README.md").read_text("utf-8")
    assert str(tmp_path) not in card + json.dumps(mark)
    assert mark["seen"] == ["birds"]
    _, front, body = card.split("---\n", 2)
    assert yaml.safe_load(front) == {
        "license": "other",
        "tags": ["clip", "adversarial-robustness", "zero-shot-image-classification", "zsrobust"],
        "pipeline_tag": "zero-shot-image-classification",
    }
    tokens = GITHUB.parse(body)
    assert not any(token.type.startswith("html") for token in tokens)
    inner = [child for token in tokens for child in token.children or ()]
    assert not {"html_inline", "link_open", "image"} & {child.type for child in inner}
    headings = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open"]
    assert headings[1:] == ["Load it", "Results", "How it was made", "Limits", "Licence"]
    blocks = [token.content for token in tokens if token.type == "fence" and token.info == "yaml"]
    assert yaml.safe_load(blocks[0]) == {
        "method": "sum",
        "attack": {"eps": "4/255"},
        "templates": ["a ``` {} <b>"],
        "seed": 3,
    }


def test_every_card_shows_how_to_load_the_format():
    from zsrobust.export.formats import FORMATS

    for form in FORMATS.values():
        (code,) = re.findall(r"```python\n(.*?)```", form.how, re.DOTALL)
        compile(code, "card", "exec")
        assert "FOLDER" in code
