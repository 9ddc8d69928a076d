"""What a fine-tuning says it would do."""

from dataclasses import replace

import pytest

from zsrobust.training.dry_run import dry_run_finetuning
from zsrobust.training.finetune import finetune
from zsrobust.utils.errors import RequestError


def test_nothing_is_written_and_passes_are_counted(config, tmp_path):
    asked = config(method="tecoa", steps=5, batch_size=8, hold_out=0.25, evaluate_every=5)
    found = dry_run_finetuning(asked)
    assert not (tmp_path / "run").exists()
    # Five steps of eight images, seven passes each; fourteen held-out images, evaluated twice.
    least = 5 * 8 * 7
    assert least + 2 * 14 <= found.passes <= least + 2 * 14 * (1 + 21)
    assert found.seconds > 0
    assert any("new" in line for line in found.lines)
    done = finetune(asked)
    assert done.steps == 5
    found = dry_run_finetuning(asked)
    assert (found.passes, found.seconds) == (0, 0)
    with pytest.raises(RequestError, match="holds another run"):
        dry_run_finetuning(replace(asked, steps=6))


def test_without_held_out_images_the_steps_are_all(config):
    """Of 56 images in batches of 24 an epoch has a third step on the last 8."""
    found = dry_run_finetuning(
        config(method="tecoa", steps=4, batch_size=24, hold_out=0, drop_last=False)
    )
    assert found.passes == (24 + 24 + 8 + 24) * 7
    assert 0 < found.seconds < float("inf")
