"""Losses of the user's own, in a file that the command names."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from zsrobust.cli.main import main
from zsrobust.objectives import OBJECTIVES, objective_class
from zsrobust.training.finetune import finetune
from zsrobust.utils.errors import RequestError, RunError

FILE = '''
from dataclasses import dataclass
from torch.nn import functional as F
from zsrobust.objectives import Needs, Objective, register_objective


@register_objective("mean_ce")
def mean_ce(step, weight=1.0):
    """The mean cross-entropy, as TeCoA's."""
    logits = step.classifier.logits(step.student["adversarial"])
    return weight * F.cross_entropy(logits, step.labels)


@register_objective("each_ce")
def each_ce(step):
    logits = step.classifier.logits(step.student["adversarial"])
    return F.cross_entropy(logits, step.labels, reduction="none")


@register_objective("clean_too", needs=Needs(student=frozenset({"clean", "adversarial"})))
def clean_too(step):
    return 1 - F.cosine_similarity(step.student["clean"], step.student["adversarial"])


@register_objective("a_class")
@dataclass(frozen=True)
class AClass(Objective):
    def loss(self, step):
        return {"total": step.mean(each_ce(step))}


@register_objective("broken")
def broken(step):
    return step.nothing


@register_objective("unasked")
def unasked(step):
    return step.mean(step.teacher["clean"].sum(-1))


@register_objective("detached")
def detached(step):
    return each_ce(step).detach()


@register_objective("wrong")
def wrong(step):
    return step.student["adversarial"]
'''


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "losses.py").write_text(FILE)
    return tmp_path / "losses.py"


def weights(run):
    return load_file(Path(run.folder) / "model" / "model.safetensors")


@pytest.mark.parametrize("method", ["mean_ce", "each_ce", "a_class"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_loss_written_anew_trains_as_the_packaged_one(config, method, accumulate):
    theirs = weights(finetune(config(out="theirs", method="tecoa", accumulate=accumulate)))
    ours = finetune(config(method=f"losses.py:{method}", accumulate=accumulate))
    for key, tensor in weights(ours).items():
        assert torch.allclose(tensor, theirs[key], atol=1e-6), key
    assert json.loads((ours.folder / "model/model.json").read_text())["method"] == method
    assert method not in OBJECTIVES


def test_options_and_needs_of_a_function(config):
    plain = objective_class("losses.py:mean_ce")()
    assert (plain.weight, plain.label) == (1.0, "mean_ce")
    made = objective_class("losses.py:mean_ce")(weight=2.0)
    assert made.label == "mean_ce[weight=2.0]"
    run = finetune(config(method="losses.py:clean_too"))
    assert run.steps == 6


def test_a_changed_file_is_another_run(config, own):
    finetune(config(method="losses.py:mean_ce"))
    recorded = (Path(config().out) / "config.yaml").read_text()
    assert "losses.py sha256:" in recorded
    own.write_text(FILE.replace("weight * F", "2 * weight * F"))
    with pytest.raises(RequestError, match=r"holds another run \(code: .*losses.py sha256"):
        finetune(config(method="losses.py:mean_ce"))


def test_errors_are_one_sentence_with_file_and_line(config, own):
    line = FILE.splitlines().index("    return step.nothing") + 1
    with pytest.raises(RunError, match=rf"method broken fails in losses.py, line {line}: Attr"):
        finetune(config(method="losses.py:broken"))
    with pytest.raises(RequestError, match=r"what method wrong returns is \(8, 24\)"):
        finetune(config(out="other", method="losses.py:wrong"))
    with pytest.raises(RequestError, match=r"needs=Needs\(teacher=frozenset\(\{'clean'\}\)\)"):
        finetune(config(out="unasked", method="losses.py:unasked"))
    with pytest.raises(RequestError, match="the loss of method detached has no gradient"):
        finetune(config(out="detached", method="losses.py:detached"))


def test_the_command_takes_a_file(config, capsys):
    base = ["finetune", "--model", config().model, "--data", config().data, "--steps", "1"]
    common = [*base, "--batch_size", "8", "--out", "told"]
    assert main([*common, "--method", "losses.py:meen_ce"]) == 2
    assert "did you mean losses.py:mean_ce?" in capsys.readouterr().err
    assert main([*common, "--method", "gone.py:x"]) == 2
    assert "there is no file gone.py" in capsys.readouterr().err
    assert not Path("told").exists()
    assert main(["finetune", "--method", "losses.py:mean_ce", "--help"]) == 0
    assert "--objective.weight" in capsys.readouterr().out
    assert main([*common, "--method", "losses.py:mean_ce", "--objective.weight", "0.5"]) == 0
    assert "model in told" in capsys.readouterr().out
