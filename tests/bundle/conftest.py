"""Run folders of evaluations whose outcomes are drawn, and counted by hand."""

import json
from collections import Counter
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from zsrobust.attacks import ThreatModel, make_attack
from zsrobust.bundle.archive import pack, unpack
from zsrobust.bundle.create import write_bundle
from zsrobust.config.schema import EvaluateConfig, to_plain
from zsrobust.evaluation.checks.diagnostics import diagnose
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.evaluation.outcomes import Outcomes, table
from zsrobust.evaluation.results import Results, Row
from zsrobust.utils.units import Eps

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
MODELS = MappingProxyType({"clip": "original", "runs/tecoa": "tecoa"})


def outcomes(ids, labels, logits, fell_to):
    """Of logits (N, C), with the losses and margins that they give."""
    rows = np.arange(len(labels))
    true = logits[rows, labels]
    others = np.where(np.eye(logits.shape[1], dtype=bool)[labels], -np.inf, logits)
    losses = np.log(np.exp(logits).sum(1)) - true
    margins = true - others.max(1)
    return Outcomes(
        ids,
        labels.tolist(),
        logits.argmax(1).tolist(),
        losses.tolist(),
        margins.tolist(),
        fell_to,
    )


@pytest.fixture(scope="session")
def made_run():
    """Writes a run folder on CIFAR-10, and returns it."""

    def make(
        folder,
        *,
        attacks=("pgd-10", "autoattack"),
        models=MODELS,
        n=40,
        eps="1/255",
        norm="linf",
        seed=0,
        source="clip",
    ):
        random = np.random.default_rng(seed)
        made = [make_attack(name, ThreatModel(norm, float(Eps(eps)))) for name in attacks]
        ids = [f"{place:05d}" for place in range(n)]
        labels = random.integers(0, len(CLASSES), n)
        rows, tables = [], []
        for name, method in models.items():
            logits = random.normal(size=(n, len(CLASSES))) * 3
            logits[np.arange(n), labels] += 5
            right = logits.argmax(1) == labels
            fell = ["" if one else "clean" for one in right]
            clean = outcomes(ids, labels, logits, fell)
            stood = 0.4 if name == "clip" else 4
            moved = logits - np.eye(len(CLASSES))[labels] * random.uniform(0, 9 / stood, (n, 1))
            moved = np.where(right[:, None], moved, logits)
            for at, attack in enumerate(made):
                # A later attack is the stronger one.
                shifted = moved - np.eye(len(CLASSES))[labels] * (at * right)[:, None]
                falls = shifted.argmax(1) != labels
                parts = [part.name for part in getattr(attack, "parts", [attack])]
                names = [
                    state or (parts[0] if fallen else "")
                    for state, fallen in zip(fell, falls, strict=True)
                ]
                after = outcomes(ids, labels, shifted, names)
                row = Row.counted(
                    dataset="cifar10",
                    split="test",
                    model=name,
                    method=method,
                    seen=False,
                    resolution=32,
                    attack=attack.name,
                    norm=norm,
                    eps=float(attack.threat.eps),
                    key=f"{name} {attack.name}",
                    zero_gradients=0.0,
                    ties=0,
                    after_part=(
                        dict.fromkeys(parts, sum(not one for one in names) / n)
                        if len(parts) > 1
                        else {}
                    ),
                    n=n,
                    clean=int(right.sum()),
                    robust=sum(not one for one in names),
                    **predictions(labels.tolist(), clean.predictions),
                )
                rows.append(row)
                tables.append(table(row, clean, after))
        described = [attack.describe() for attack in made]
        weights = {name: f"{at:016x}" for at, name in enumerate(models, seed + 1)}
        protocol = {
            "robust": "right on the clean image and on the adversarial one",
            "interval": "95 %: Wilson a data set, MOVER an average",
            "precision": "fp32",
            "seed": 0,
            "samples": n,
            "two_phase": None,
            "attacks": described,
            "models": {
                name: {
                    "source": source,
                    "method": method,
                    "weights": weights[name],
                    "logit_scale": 100.0,
                    "preprocessing": {"protocol": "clip"},
                    "seen": [],
                    "recipe": "",
                }
                for name, method in models.items()
            },
            "data": {
                "cifar10": {
                    "split": "test",
                    "n": n,
                    "skipped": 0,
                    "notes": [],
                    "origin": "cifar10",
                    "class_names": list(CLASSES),
                    "attacks": described,
                    "attack_notes": {},
                    **{
                        f"under {name}": {
                            "attack_resolution": 32,
                            "loader_resize": "none: stored pixels",
                            "templates": ["a photo of a {}."],
                            "class_name_warnings": [],
                        }
                        for name in models
                    },
                }
            },
        }
        results = Results(protocol, {"zsrobust": "0.1.0", "device": "cpu"}, rows)
        results = Results(protocol, results.environment, rows, diagnose(results))
        folder.mkdir(parents=True)
        results.write(folder / "results.json")
        pq.write_table(pa.concat_tables(tables), folder / "outcomes.parquet")
        config = EvaluateConfig(
            model=[name for name, method in models.items() if method != "original"] or list(models),
            data=["cifar10:data/cifar10"],
            attack=list(attacks),
            eps=[Eps(eps)],
            norm=norm,
            samples=n,
        )
        (folder / "config.yaml").write_text(yaml.safe_dump(to_plain(config)))
        return folder

    return make


def predictions(labels, predicted):
    """What of predictions shows a collapse, counted with a Counter."""
    n, have, say = len(labels), Counter(labels), Counter(predicted)
    top = max(range(len(CLASSES)), key=lambda one: (say[one], -one))
    return {
        "chance_acc": sum(have[one] * say[one] for one in range(len(CLASSES))) / n**2,
        "top_class": CLASSES[top],
        "top_predicted": say[top] / n,
        "top_labelled": have[top] / n,
    }


@pytest.fixture(scope="session")
def bundle(made_run, tmp_path_factory):
    """The bytes of the bundle of one such run."""
    folder = tmp_path_factory.mktemp("bundle")
    run = EvaluatedRun.read(made_run(folder / "run"))
    write_bundle(run, folder / "run.zip")
    return (folder / "run.zip").read_bytes()


@pytest.fixture(scope="session")
def repacked():
    """The bundle with its results, outcomes and request changed in place, hashes renewed."""

    def change(
        content, results=lambda _: None, outcomes=lambda found: found, request=lambda _: None
    ):
        archive = unpack(content, "bundle")
        plain = json.loads(archive.results)
        results(plain)
        request(archive.manifest["request"])
        found = outcomes(pq.read_table(pa.BufferReader(archive.outcomes)))
        sink = pa.BufferOutputStream()
        pq.write_table(found, sink)
        return pack(archive.manifest, json.dumps(plain).encode(), sink.getvalue().to_pybytes())

    return change


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return Path(tmp_path)
