"""Every objective trains a small CLIP from end to end."""

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from zsrobust.config.schema import Optimizer, TrainingAttack, to_plain
from zsrobust.models.loading import load
from zsrobust.objectives import HPT, LORE, OBJECTIVES, SAFT, FTAdv, MMCoA, SumOfTerms, Term
from zsrobust.training import trainer
from zsrobust.training.feed import Feed
from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import read_metrics
from zsrobust.training.step import TrainingStep
from zsrobust.utils.errors import RequestError, RunError
from zsrobust.utils.units import Eps

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("method", OBJECTIVES)
def test_a_short_fine_tuning(config, method, small_clip):
    objective = HPT(proxy=small_clip) if method == "hpt" else OBJECTIVES[method]()
    settings = config(method=method, objective=objective, steps=2, evaluate_every=2)
    run = finetune(settings)
    tuned, original = load(str(run.folder)), load(settings.model)
    assert tuned.method == settings.objective.label
    before, after = original.encoder.state_dict(), tuned.encoder.state_dict()
    assert before.keys() == after.keys()
    moved = [name for name in before if not torch.equal(before[name], after[name])]
    assert "proj" in moved
    assert len(moved) > len(before) / 2
    (row,) = [row for row in read_metrics(run.folder / "metrics.jsonl") if row["kind"] == "train"]
    attacked = "adversarial" in settings.objective.needs.student
    assert ("adversarial_acc" in row) == attacked


@pytest.mark.parametrize("objective", [FTAdv(), LORE(primal_steps=2), MMCoA()])
def test_a_head_is_resumed_with_the_encoder(config, weights, monkeypatch, objective):
    adamw = Optimizer(name="adamw", lr=0.001, warmup_steps=2)
    options = {"method": objective.name, "objective": objective, "optimizer": adamw}
    whole = finetune(config("whole", **options))
    step, calls = TrainingStep.__call__, []

    def failing(self, *parts, **given):
        calls.append(1)
        if len(calls) == 4:
            raise RunError("loss is nan")
        return step(self, *parts, **given)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.TrainingStep, "__call__", failing)
        with pytest.raises(RunError):
            finetune(config("cut", **options))
    cut = finetune(config("cut", **options))
    one, other = weights(whole.folder), weights(cut.folder)
    assert {name.split(".")[0] for name in one} == {"0", "1"}
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    moments = [
        load_file(run.folder / "checkpoints" / "step-00000006" / "optimizer.safetensors")
        for run in (whole, cut)
    ]
    assert moments[0].keys() == moments[1].keys()
    for name, value in moments[0].items():
        assert torch.equal(value, moments[1][name]), name
    saved = load_file(whole.folder / "model" / "model.safetensors")
    assert saved.keys() == load(config().model).encoder.state_dict().keys()


@pytest.mark.parametrize("objective", [FTAdv(), LORE(primal_steps=2), MMCoA()])
def test_two_processes_train_one_head(
    config, weights, tmp_path, two_processes, objective, monkeypatch
):
    options = {"method": objective.name, "objective": objective, "steps": 3}
    with monkeypatch.context() as patch:
        # Parts of the images that two processes would have: a contrastive loss is that of a part.
        patch.setattr(Feed, "_cut", lambda feed, of: [of[at :: feed.parts] for at in (0, 1)])
        alone = finetune(config("alone", accumulate=2, **options))
    shared = config("shared", **options)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(to_plain(shared)))
    run = two_processes("-m", "zsrobust", "finetune", "--config", str(recipe))
    assert run.returncode == 0, run.stderr
    for name, value in weights(alone.folder).items():
        found = weights(Path(shared.out))[name]
        torch.testing.assert_close(found, value, atol=2e-6, rtol=1e-4)


def test_accumulation_changes_nothing_for_a_sum(config, weights):
    terms = [Term("ce_adv"), Term("kl_teacher_clean", 0.5), Term("cosine_anchor_adv", 0.1, "sum")]
    options = {"method": "sum", "objective": SumOfTerms(terms)}
    whole = finetune(config("whole", **options))
    parts = finetune(config("parts", accumulate=4, **options))
    for name, value in weights(whole.folder).items():
        torch.testing.assert_close(weights(parts.folder)[name], value, atol=2e-6, rtol=1e-4)


@pytest.mark.parametrize("method", ["tga_zsr", "comp_tga", "saft"])
def test_attention_needs_a_vit(config, method):
    settings = config(model="glyph-clip", method=method, objective=OBJECTIVES[method]())
    with pytest.raises(RequestError, match=r"model glyph-clip has no patch tokens"):
        finetune(settings)
    assert not (Path(settings.out) / "checkpoints").exists()


@pytest.mark.parametrize("method", ["fare", "lore", "sim_clip", "trades"])
def test_a_flat_start_is_refused(config, method):
    attack = TrainingAttack(eps=Eps("4/255"), random_start=False)
    settings = config(method=method, objective=OBJECTIVES[method](), attack=attack)
    with pytest.raises(RequestError, match=rf"attack.random_start is false: .* {method} has no"):
        finetune(settings)


def test_other_descriptions_end_a_resumption(config, tmp_path, monkeypatch):
    path = tmp_path / "said.yaml"
    said = {f"class {label}": [f"Number {label}.", f"A {label}."] for label in range(4)}
    path.write_text(yaml.safe_dump(said))
    settings = config(method="saft", objective=SAFT(descriptions=str(path)), steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(trainer.TrainingStep, "__call__", lambda *_, **__: pytest.fail("cut"))
        with pytest.raises(pytest.fail.Exception):
            finetune(settings)
    path.write_text(yaml.safe_dump({**said, "class 0": ["Another.", "A 0."]}))
    with pytest.raises(RequestError, match="its prompts are not those"):
        finetune(settings)
