"""Run folders as evaluate, finetune and demo leave them, of made-up figures."""

import json
from html.parser import HTMLParser

import numpy as np
import pytest
import yaml

from zsrobust.config.schema import EvaluateConfig, to_plain
from zsrobust.evaluation.gallery import Gallery, Item, Prediction, View
from zsrobust.evaluation.results import Finding, Results, Row
from zsrobust.reporting.report import write_report

LINES = [
    # data set, model, method, seen, n, clean, robust
    ("birds", "clip", "original", False, 200, 180, 2),
    ("birds", "runs/tecoa", "tecoa", False, 200, 120, 60),
    ("birds", "runs/pmg", "pmg_aft[paper]", False, 200, 110, 80),
    ("tiny", "clip", "original", False, 100, 70, 0),
    ("tiny", "runs/tecoa", "tecoa", True, 100, 60, 30),
    ("tiny", "runs/pmg", "pmg_aft[paper]", True, 100, 50, 20),
]


VOID = {"meta", "link", "img", "br", "wbr", "hr", "input", "col"}


class Page(HTMLParser):
    """What a page holds: elements, headings, tables as rows of text, and all visible text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements = []
        self.headings = []
        self.tables = []
        self.visible = ""
        self._open = []
        self.feed(text)
        self.close()
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag in ("h1", "h2", "h3", "h4", "h5", "h6"):
            self.headings.append([int(tag[1]), ""])
        elif tag == "table":
            self.tables.append({"caption": "", "rows": []})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
        elif tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag, f"</{tag}> does not match"

    def handle_data(self, data):
        if self._open and self._open[-1] in ("script", "style"):
            return
        self.visible += data
        if self._open and self._open[-1] in ("h1", "h2", "h3", "h4"):
            self.headings[-1][1] += data
        if "caption" in self._open:
            self.tables[-1]["caption"] += data
        elif {"td", "th"} & set(self._open):
            self.tables[-1]["rows"][-1][-1] += data

    def all(self, *tags):
        """The attributes of every element of these kinds."""
        return [attributes for tag, attributes in self.elements if tag in tags]

    def table(self, caption):
        """The one table with this text in its caption, headings first."""
        (found,) = [one["rows"] for one in self.tables if caption in one["caption"]]
        return [[" ".join(cell.split()) for cell in row] for row in found]


@pytest.fixture(scope="session")
def read_page():
    """Reads the text of a page."""
    return Page


@pytest.fixture(scope="session")
def evaluation():
    """Writes the run folder of an evaluation, and returns it."""

    def make(
        folder,
        lines=LINES,
        *,
        eps=("4/255",),
        attack="pgd-10",
        steps=10,
        recipes=None,
        weights=None,
        findings=(),
        classes=("a", "b"),
        px=32,
    ):
        radii = {text: float(int(text.split("/")[0])) / 255 for text in eps}
        rows = [
            Row.counted(
                dataset=dataset,
                split="test",
                model=model,
                method=method,
                seen=seen,
                resolution=px,
                attack=attack,
                norm="linf",
                eps=radius,
                key=f"{model} {dataset}",
                n=n,
                clean=clean,
                # A little less at each further radius.
                robust=max(0, robust - 5 * index),
            )
            for dataset, model, method, seen, n, clean, robust in lines
            for index, radius in enumerate(radii.values())
        ]
        attacks = [
            {
                "name": attack,
                "threat": {"norm": "linf", "eps": radius, "bounds": [0.0, 1.0]},
                "steps": steps,
                "step_size": radius / 4,
                "seed": 0,
            }
            for radius in radii.values()
        ]
        models = {
            row.model: {
                "source": "clip",
                "method": row.method,
                "weights": (weights or {}).get(row.model, f"weights of {row.model}"),
                "logit_scale": 100.0,
                "preprocessing": {"protocol": "clip", "image_size": 64, "mean": [0.5, 0.5, 0.5]},
                "seen": [] if row.method == "original" else ["tiny"],
                "recipe": (recipes or {}).get(row.model, ""),
            }
            for row in rows
        }
        settings = {
            "attack_resolution": px,
            "loader_resize": "clip",
            "templates": ["a photo of {}"],
        }
        data = {
            row.dataset: {
                "split": "test",
                "n": row.n,
                "skipped": 0,
                "origin": f"/data/{row.dataset}",
                "class_names": list(classes),
                "attacks": attacks,
                "attack_notes": {},
                **{f"under {model}": settings for model in models},
            }
            for row in rows
        }
        protocol = {
            "robust": "right before and after",
            "interval": "95 %: Wilson",
            "precision": "fp32",
            "seed": 0,
            "samples": 100,
            "attacks": attacks,
            "models": models,
            "data": data,
        }
        folder.mkdir(parents=True, exist_ok=True)
        Results(protocol, {"zsrobust": "0.1.0", "torch": "2.6"}, rows, list(findings)).write(
            folder / "results.json"
        )
        tuned = [name for name, about in models.items() if about["method"] != "original"]
        asked = EvaluateConfig(
            model=tuned or list(models),
            data=[f"imagefolder:/data/{name}" for name in data],
            attack=[attack],
            eps=list(eps),
            samples=100,
        )
        (folder / "config.yaml").write_text(f"# title\n{yaml.safe_dump(to_plain(asked))}")
        return folder

    return make


@pytest.fixture(scope="session")
def training():
    """Writes the run folder of a fine-tuning, and returns it."""

    def make(folder, method="tecoa", recipe="r", distance=0.03):
        (folder / "model").mkdir(parents=True)
        lines = [
            {"kind": "held_out", "step": 0, "relative_l2_distance": 0.0, "clean_acc": 0.9}
            | {"robust_acc": 0.0, "attack": "pgd-10"},
            {"kind": "train", "step": 10, "relative_l2_distance": distance / 2, "total": 3.0}
            | {"clean_acc": 0.7, "adversarial_acc": 0.2},
            {"kind": "train", "step": 20, "relative_l2_distance": distance, "total": 2.0}
            | {"clean_acc": 0.8, "adversarial_acc": 0.4},
            {"kind": "held_out", "step": 20, "relative_l2_distance": distance, "clean_acc": 0.8}
            | {"robust_acc": 0.5, "attack": "pgd-10"},
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)
        card = {
            **{"schema": 1, "source": "clip", "preprocessing": "clip", "recipe": recipe},
            **{"loader_resize": "clip", "templates": [], "seen": ["tiny"], "sha256": "0" * 64},
            **{"logit_scale": 1.0, "method": method, "step": 20, "text": ""},
            **{"held_out": {"clean_acc": 0.8, "robust_acc": 0.5}},
            "relative_l2_distance": distance,
        }
        (folder / "model" / "model.json").write_text(json.dumps(card))
        (folder / "config.yaml").write_text("# title\nseed: 7\nattack:\n  eps: 1/255\n")
        return folder

    return make


@pytest.fixture(scope="session")
def gallery():
    """Writes a gallery into a folder; every sample is attacked against both models."""

    def make(folder, labels=("cat",), side=8):
        rng = np.random.default_rng(0)

        def view(against):
            pixels = rng.random((3, side, side), dtype=np.float32)
            said = {
                "clip": Prediction("dog", 0.75, False),
                "runs/tecoa": Prediction(labels[0], 0.5, True),
            }
            return View(against, pixels, said)

        items = [
            Item("birds", f"sample {index}", label, [view(""), view("clip"), view("runs/tecoa")])
            for index, label in enumerate(labels)
        ]
        methods = {"clip": "original", "runs/tecoa": "tecoa"}
        folder.mkdir(parents=True, exist_ok=True)
        Gallery("pgd-10 4/255", methods, "Chosen at random.", items).write(folder / "gallery.npz")
        return folder

    return make


@pytest.fixture(scope="session")
def demo(evaluation, training, gallery, tmp_path_factory):
    """The folder of a demonstration: an evaluation, two fine-tunings and a gallery."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "demo.json").write_text("{}")
    found = [Finding("undefended falls", False, "it keeps 1.0 %", {"kept": 0.01}, "Mind it.")]
    evaluation(folder / "evaluation", eps=("4/255", "8/255"), findings=found)
    training(folder / "tecoa")
    training(folder / "pmg", "pmg_aft[paper]", "p", 0.02)
    gallery(folder, ("cat", "dog"))
    return folder


@pytest.fixture(scope="session")
def report(demo, tmp_path_factory):
    """The report on the demonstration."""
    return write_report([demo], tmp_path_factory.mktemp("out") / "report")
