import pytest
import yaml

from zsrobust.sweep.plan_file import load_study, plan_path


@pytest.fixture
def argv(small_clip, photos, tmp_path):
    """A sweep of seconds on a random CLIP: what it is trained and evaluated on, and where."""
    train, one, two = photos("train", 4, 8), photos("one", 3, 4), photos("other", 2, 5)
    return [
        *("--model", small_clip, "--data", f"imagefolder:{train},name=world"),
        *("--steps", "2", "--batch_size", "8", "--hold_out", "0.2", "--attack.eps", "4/255"),
        *("--evaluation.data", f"imagefolder:{one}", f"imagefolder:{two}"),
        *("--evaluation.attack", "pgd-2", "--evaluation.eps", "4/255"),
        *("--out", str(tmp_path / "out")),
    ]


@pytest.fixture
def toy_study(small_clip, photos, tmp_path):
    """The plan ``glyphs`` at a size of seconds: a random CLIP, two systems, two seeds."""
    train, one, two = photos("train", 4, 8), photos("one", 3, 4), photos("other", 2, 5)
    plan = yaml.safe_load(plan_path("glyphs").read_text("utf-8"))
    plan["finetune"] |= {"model": small_clip, "data": f"imagefolder:{train},name=shown"}
    plan["finetune"] |= {"steps": 2, "batch_size": 8, "hold_out": 0.2, "evaluate_every": 2}
    plan["finetune"]["optimizer"] = {"warmup_steps": 0}
    sets = [f"imagefolder:{one}", f"imagefolder:{two}"]
    plan["evaluate"]["pgd"] = {"data": sets, "attack": ["pgd-2"], "eps": ["4/255"]}
    plan["evaluate"]["autoattack"] |= {"data": sets, "attack": ["pgd-3"], "samples": 4}
    plan |= {"seeds": [0, 1], "search_from": 0.01}
    plan["systems"] = {name: plan["systems"][name] for name in ("tecoa", "pmg_aft-paper")}
    changes = plan["comparisons"]["ablations"]["changes"]
    plan["comparisons"]["ablations"]["changes"] = {"alpha=0": changes["alpha=0"]}

    def make(out="out", **changes):
        path = tmp_path / "plan.yaml"
        path.write_text(yaml.safe_dump(plan | changes, sort_keys=False))
        return load_study(path, tmp_path / out)

    return make
