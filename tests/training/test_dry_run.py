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
