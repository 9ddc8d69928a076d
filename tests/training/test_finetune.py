import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from zsrobust.config.schema import Optimizer, TrainingAttack, to_plain
from zsrobust.models.loading import load
from zsrobust.models.weights import fingerprint
from zsrobust.objectives import PMGAFT, FTClean, TeCoA
from zsrobust.training import trainer
from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import read_metrics
from zsrobust.utils.errors import RequestError, RunError

pytestmark = pytest.mark.slow


def assert_equal_weights(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name


@pytest.mark.parametrize("objective", [FTClean(), TeCoA(), PMGAFT(), PMGAFT(images="clean")])
def test_a_run_folder_holds_the_run(config, objective):
    method = {FTClean: "ft_clean", TeCoA: "tecoa", PMGAFT: "pmg_aft"}[type(objective)]
    settings = config(method=method, objective=objective)
    run = finetune(settings)
    assert yaml.safe_load((run.folder / "config.yaml").read_text())["steps"] == 6
    rows = read_metrics(run.folder / "metrics.jsonl")
    held_out = [row for row in rows if row["kind"] == "held_out"]
    assert [row["step"] for row in held_out] == [0, 4, 6]
    assert held_out[0]["relative_l2_distance"] == 0
    assert held_out[1]["relative_l2_distance"] > 0
    trained = [row for row in rows if row["kind"] == "train"]
    assert trained[-1]["step"] == 6
    assert {"total", "lr", "grad_norm", "images_per_second"} <= trained[-1].keys()
    adversarial = isinstance(objective, TeCoA) or getattr(objective, "images", "") == "adversarial"
    assert ("adversarial_acc" in trained[-1]) == adversarial

    tuned, original = load(str(run.folder)), load(settings.model)
    assert tuned.method == objective.label
    assert tuned.seen == {"photos", settings.data.removeprefix("imagefolder:")}
    assert tuned.source == settings.model
    selected = max(held_out[1:], key=lambda row: row["clean_acc"] + row["robust_acc"])
    assert (run.clean_acc, run.robust_acc) == (selected["clean_acc"], selected["robust_acc"])
    card = json.loads((run.folder / "model" / "model.json").read_text())
    assert card["text"] == original.text.fingerprint
    moved = size = 0.0
    for name, value in original.encoder.state_dict().items():
        after = tuned.encoder.state_dict()[name]
        moved += float((after.double() - value.double()).pow(2).sum())
        size += float(value.double().pow(2).sum())
    assert (moved / size) ** 0.5 == pytest.approx(selected["relative_l2_distance"], rel=1e-6)


def test_only_the_image_encoder_is_trained(config):
    settings = config()
    before = load(settings.model)
    text = before.text.encode(["a dog"], ["{}"])
    run = finetune(settings)
    torch.testing.assert_close(load(str(run.folder)).text.encode(["a dog"], ["{}"]), text)


def test_training_learns(config):
    run = finetune(config(steps=40, evaluate_every=40, optimizer=Optimizer(lr=0.05)))
    rows = read_metrics(run.folder / "metrics.jsonl")
    first, last = (row for row in rows if row["kind"] == "held_out")
    assert last["robust_acc"] > first["robust_acc"] + 0.3


def test_accumulation_changes_memory_not_weights(config, weights):
    whole = finetune(config("whole"))
    parts = finetune(config("parts", accumulate=4))
    for name, value in weights(whole.folder).items():
        torch.testing.assert_close(weights(parts.folder)[name], value, atol=2e-6, rtol=1e-4)


def test_the_global_random_state_is_left_alone(config):
    torch.manual_seed(11)
    before = torch.random.get_rng_state()
    finetune(config(steps=1))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_bf16_update_stays_near_fp32(config, weights):
    full = finetune(config("fp32", steps=2))
    half = finetune(config("bf16", steps=2, precision="bf16"))
    pairs = [(weights(half.folder)[name], value) for name, value in weights(full.folder).items()]
    gap = sum(float((a - b).pow(2).sum()) for a, b in pairs) ** 0.5
    start = load(config().model).encoder.state_dict()
    moved = sum(
        float((value - start[name]).pow(2).sum()) for name, value in weights(full.folder).items()
    )
    assert 0 < gap < 0.1 * moved**0.5


def test_a_loss_that_is_not_finite_stops_the_run(config, weights, monkeypatch):
    whole = finetune(config("whole"))
    adversarial, calls = PMGAFT.adversarial, []

    def breaking(self, *given):
        calls.append(1)
        images = adversarial(self, *given)
        return images * float("nan") if len(calls) == 5 else images

    with monkeypatch.context() as patch:
        patch.setattr(PMGAFT, "adversarial", breaking)
        with pytest.raises(RunError, match=r"loss is nan at step 5; the last good checkpoint in"):
            finetune(config("broken"))
    folder = Path(config("broken").out)
    assert all(value.isfinite().all() for value in weights(folder).values())
    finetune(config("broken"))
    assert_equal_weights(weights(folder), weights(whole.folder))


def test_ctrl_c_saves_and_the_same_call_resumes(config, weights, signalled):
    whole = finetune(config("whole"))
    settings = config("stopped", checkpoint_every=100)
    stopped = pytest.raises(KeyboardInterrupt, match="stopped at step 3 of 6; run the same command")
    with signalled(signal.SIGINT, 3), stopped:
        finetune(settings)
    again = finetune(settings)
    assert_equal_weights(weights(again.folder), weights(whole.folder))
    assert_equal_weights(
        load_file(again.folder / "model" / "model.safetensors"),
        load_file(whole.folder / "model" / "model.safetensors"),
    )


def test_without_held_out_images_the_last_model_is_kept(config, weights, signalled):
    settings = {"hold_out": 0, "drop_last": False, "batch_size": 24, "evaluate_every": 2}
    whole = finetune(config("whole", **settings))
    with signalled(signal.SIGINT, 3), pytest.raises(KeyboardInterrupt):
        finetune(config("stopped", **settings))
    again = finetune(config("stopped", **settings))
    assert_equal_weights(weights(again.folder), weights(whole.folder))
    model = load(str(whole.folder))
    assert_equal_weights(model.encoder.state_dict(), weights(whole.folder))
    assert (model.record["step"], model.record["held_out"]) == (6, {})
    rows = read_metrics(whole.folder / "metrics.jsonl")
    assert {row["kind"] for row in rows} == {"train"}
    assert model.record["training_set"]["n"] == 56


def test_asked_to_stop_in_its_last_step_it_ends_whole_and_stops(config, weights, signalled):
    """Else a command of several runs, asked to stop, would begin the next one."""
    whole = finetune(config("whole"))
    with signalled(signal.SIGTERM, 6) as calls:
        with pytest.raises(KeyboardInterrupt, match="stopped after the last step"):
            finetune(config("stopped"))
        again = finetune(config("stopped"))
    assert len(calls) == 6
    assert_equal_weights(weights(again.folder), weights(whole.folder))


def test_a_finished_run_is_not_run_again(config, monkeypatch):
    first = finetune(config())
    monkeypatch.setattr(trainer.TrainingStep, "__call__", lambda *_, **__: pytest.fail("a step"))
    assert finetune(config()) == first


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_killed_at_any_moment_it_ends_with_the_same_weights(config, weights, tmp_path):
    settings = config("whole", steps=30, evaluate_every=10, checkpoint_every=1)
    whole = finetune(settings)
    killed = config("killed", steps=30, evaluate_every=10, checkpoint_every=1)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(to_plain(killed)))
    command = [sys.executable, "-m", "zsrobust", "finetune", "--config", str(recipe)]
    checkpoints = Path(killed.out) / "checkpoints"
    for moment in (3, 14):
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        while process.poll() is None and not list(checkpoints.glob(f"step-{moment:08d}")):
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    assert_equal_weights(weights(Path(killed.out)), weights(whole.folder))
    one, other = (
        [
            {key: value for key, value in row.items() if key != "images_per_second"}
            for row in read_metrics(folder / "metrics.jsonl")
        ]
        for folder in (Path(killed.out), whole.folder)
    )
    assert one == other, "every step once, with the same figures"


def test_two_processes_make_the_weights_of_one(config, weights, tmp_path, two_processes):
    alone = finetune(config("alone", accumulate=2))
    shared = config("shared")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(to_plain(shared)))
    run = two_processes("-m", "zsrobust", "finetune", "--config", str(recipe))
    assert run.returncode == 0, run.stderr
    for name, value in weights(alone.folder).items():
        found = weights(Path(shared.out))[name]
        torch.testing.assert_close(found, value, atol=2e-6, rtol=1e-4)
    one, two = (
        [row for row in read_metrics(Path(folder) / "metrics.jsonl") if row["kind"] == "held_out"]
        for folder in (alone.folder, shared.out)
    )
    for a, b in zip(one, two, strict=True):
        assert a["clean_acc"] == b["clean_acc"]
        assert a["robust_acc"] == pytest.approx(b["robust_acc"], abs=0.1)


def test_a_batch_of_fewer_images_than_asked_for_is_all_of_them(config, weights, capsys):
    asked = finetune(config("a", batch_size=256, steps=2))
    assert "a step is on 45 of the 45 training images" in " ".join(capsys.readouterr().err.split())
    fitting = finetune(config("b", batch_size=45, steps=2))
    assert_equal_weights(weights(asked.folder), weights(fitting.folder))
    parts = finetune(config("c", batch_size=256, accumulate=2, steps=1))
    rows = read_metrics(parts.folder / "metrics.jsonl")
    assert "a step is on 44 of the 45" in " ".join(capsys.readouterr().err.split())
    assert rows[-1]["step"] == 1
    card = json.loads((parts.folder / "model" / "model.json").read_text())
    assert card["settings"]["batch_size"] == 44


@pytest.mark.parametrize(
    ("changes", "warned"),
    [({}, True), ({"evaluate_every": 6}, False), ({"hold_out": 0.0}, False)],
)
def test_few_held_out_images_that_choose_the_model_are_remarked_on(config, changes, warned, capsys):
    finetune(config(**changes))
    # 20 % of 56 choose between steps 4 and 6; of one candidate there is nothing to choose.
    assert ("11 held-out images choose the model" in capsys.readouterr().err) is warned


def test_without_clean_images_the_adversarial_loss_is_recorded(config):
    for objective, recorded in ((TeCoA(), True), (PMGAFT(), False)):
        run = finetune(config(objective.name, method=objective.name, objective=objective))
        line = [
            one for one in read_metrics(run.folder / "metrics.jsonl") if one["kind"] == "train"
        ][-1]
        assert ("adversarial_loss" in line) is recorded
        if recorded:
            # TeCoA's loss is that of the zero-shot classifier itself.
            assert line["adversarial_loss"] == pytest.approx(line["total"], rel=1e-5)


def test_a_warm_up_that_would_outlast_the_run_is_a_tenth_of_it(config, weights):
    for asked, equal in ((1000, 1), (10, 1), (9, 9)):
        runs = [
            finetune(config(f"{asked}-{n}", steps=10, optimizer=Optimizer(lr=0.02, warmup_steps=n)))
            for n in (asked, equal)
        ]
        assert_equal_weights(*(weights(run.folder) for run in runs))


def test_training_in_l2(config, monkeypatch):
    seen, adversarial = [], TeCoA.adversarial

    def observed(self, step):
        found = adversarial(self, step)
        seen.append((found - step.batch.images).flatten(1))
        return found

    monkeypatch.setattr(TeCoA, "adversarial", observed)
    attack = TrainingAttack(norm="l2", eps=0.5, step_size=0.5)
    run = finetune(config(steps=2, method="tecoa", attack=attack))
    changes = torch.cat(seen)
    assert changes.norm(dim=1).amax() <= 0.5 + 1e-5
    # Steps of the radius end at its surface, unless pixels end at 0 or 1.
    assert changes.norm(dim=1).amax() > 0.45
    card = json.loads((run.folder / "model" / "model.json").read_text())
    assert card["held_out"]["attack"] == "pgd-10 at l2 0.5"
    assert card["settings"]["attack"]["norm"] == "l2"
    rows = read_metrics(run.folder / "metrics.jsonl")
    assert {row["attack"] for row in rows if row["kind"] == "held_out"} == {"pgd-10 at l2 0.5"}


def test_requests_are_refused_before_training(config):
    with pytest.raises(RequestError, match="leaves 45 training images"):
        finetune(config("a", batch_size=64, accumulate=64))
    with pytest.raises(RequestError, match="preprocessing 'mine' is unknown"):
        finetune(config("b", preprocessing="mine"))


def test_a_resume_on_other_images_is_refused(config, tmp_path):
    settings = config()
    finetune(settings)
    (tmp_path / "photos" / "class_0" / "0.png").unlink()
    with pytest.raises(RequestError, match=r"are not those that .* was begun with"):
        finetune(settings)


def test_a_run_resumes_on_another_processor(config, signalled, another_processor):
    settings = config(evaluate_every=6)
    with signalled(signal.SIGINT, 3), pytest.raises(KeyboardInterrupt, match="at step 3"):
        finetune(settings)
    another_processor()
    assert finetune(settings).steps == 6
    rows = read_metrics(Path(settings.out) / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "held_out"] == [0, 6]


def test_a_resume_with_another_text_side_is_refused(config, small_clip, tmp_path):
    shutil.copytree(small_clip.removeprefix("local-dir:"), tmp_path / "clip")
    settings = config(model=f"local-dir:{tmp_path / 'clip'}")
    finetune(settings)
    (path,) = (tmp_path / "clip").glob("*.safetensors")
    tensors = load_file(path)
    save_file({**tensors, "positional_embedding": -tensors["positional_embedding"]}, path)
    with pytest.raises(RequestError, match=r"are not those that .* was begun with"):
        finetune(settings)


def test_a_lost_model_of_a_finished_run_is_named(config):
    run = finetune(config(steps=1))
    shutil.rmtree(run.folder / "model")
    with pytest.raises(RequestError, match="is finished but its model/ is gone"):
        finetune(config(steps=1))


def test_a_refused_request_deletes_nothing(config):
    run = finetune(config(steps=1))
    with pytest.raises(RequestError, match="names no folder"):
        finetune(config(steps=1, data="imagefolder:nowhere", overwrite=True))
    assert finetune(config(steps=1)) == run


def test_a_launcher_s_environment_decides_nothing(config, weights, tmp_path):
    plain = finetune(config("plain", steps=2))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(to_plain(config("launched", steps=2))))
    launched = {"ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4"}
    command = [sys.executable, "-m", "zsrobust", "finetune", "--config", str(recipe)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **launched})
    assert_equal_weights(weights(Path(config("launched").out)), weights(plain.folder))


def test_a_second_fine_tuning_names_both(config):
    first = finetune(config("first", steps=1, templates=["one {}"], loader_resize="authors_code"))
    second = finetune(config("second", steps=1, model=str(first.folder)))
    model = load(str(second.folder))
    assert model.method == "pmg_aft[authors_code], then pmg_aft[authors_code]"
    assert model.source == config().model
    assert model.record["start"] == {
        "name": str(first.folder),
        "method": "pmg_aft[authors_code]",
        "weights": fingerprint(load(str(first.folder)).encoder),
    }
    assert "start" not in load(str(first.folder)).record
    assert model.default_templates == ("one {}",)
    assert load(str(first.folder)).loader_resize == "authors_code"


def test_the_first_evaluation_is_recorded_once(config, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "save_checkpoint", lambda *_, **__: pytest.fail("killed here"))
        with pytest.raises(pytest.fail.Exception):
            finetune(config(steps=1))
    run = finetune(config(steps=1))
    rows = read_metrics(run.folder / "metrics.jsonl")
    assert [row["step"] for row in rows if row["kind"] == "held_out"] == [0, 1]


def test_one_failing_process_ends_them_all(config, tmp_path, two_processes):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(to_plain(config(data="imagefolder:nowhere"))))
    run = two_processes("-m", "zsrobust", "finetune", "--config", str(recipe))
    assert run.returncode != 0
    # The other process is stopped at once: often, but not always, it has said the same by then.
    assert "names no folder (nowhere)" in run.stderr


def test_interrupt_outside_the_main_thread(config):
    """Python sets signal handlers in the main thread only; elsewhere a run goes without."""
    found = []
    thread = threading.Thread(target=lambda: found.append(finetune(config(steps=1))))
    thread.start()
    thread.join()
    assert found[0].steps == 1


def test_steps_of_the_attack_that_do_not_fit_its_radius_are_remarked_on(config, capsys):
    def said(attack, **changes):
        finetune(config(steps=1, attack=attack, overwrite=True, **changes))
        return " ".join(capsys.readouterr().err.split())

    assert "is more than 2 eps" in said(TrainingAttack(eps="4/255", step_size="128/255"))
    assert "less than eps" in said(TrainingAttack(eps="8/255", steps=2, step_size="1/255"))
    assert "warning: attack" not in said(TrainingAttack(eps="1/255", steps=2, step_size="1/255"))
