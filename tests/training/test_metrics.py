import pytest

from zsrobust.training.finetune import finetune
from zsrobust.training.metrics import MetricsLog, read_metrics


def test_what_is_no_line_of_ours_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n5\n[1]\n{"st\xff\n' + b"[" * 100_000 + b'\n{"step": 2}\n{"step')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]


def test_a_resume_forgets_what_lies_beyond_it(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (1, 2, 3):
        log.append(kind="train", step=step)
    with log.path.open("a") as file:
        file.write('{"kind": "train"}\n{"step": "2"}\n{"ste')
    log.forget_after(2)
    assert [row["step"] for row in read_metrics(log.path)] == [1, 2]
    assert log.path.read_text().endswith("}\n")


@pytest.mark.slow
@pytest.mark.parametrize(("most", "steps"), [(10_000, []), (2, [3, 6]), (1, [6])])
def test_a_long_run_has_no_more_lines_than_a_shorter_one(config, monkeypatch, most, steps):
    monkeypatch.setattr("zsrobust.training.trainer.STEPS_BETWEEN_METRICS", 1 if most < 100 else 10)
    monkeypatch.setattr("zsrobust.training.trainer.MOST_METRICS", most)
    rows = read_metrics(finetune(config()).folder / "metrics.jsonl")
    # The last step has a line of its own.
    assert [row["step"] for row in rows if row["kind"] == "train"] == (steps or [6])
