from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from zsrobust.attacks import PGD, ThreatModel
from zsrobust.config.schema import PGDOptions, to_plain
from zsrobust.evaluation.evaluator import evaluate
from zsrobust.evaluation.outcomes import Outcomes
from zsrobust.evaluation.results import Results
from zsrobust.models.loading import load
from zsrobust.reporting.tables import accuracy_table
from zsrobust.utils.errors import RequestError
from zsrobust.utils.units import Eps

pytestmark = pytest.mark.slow


def test_two_processes_find_exactly_what_one_does(config, tmp_path, processes):
    code = (
        "import sys, zsrobust.evaluation.cell as cell; cell.CHUNK = 4\n"
        "from zsrobust.cli.main import main; sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "small_chunks.py").write_text(code)
    found = {}
    for n in (1, 2):
        folder = tmp_path / f"of-{n}"
        recipe = tmp_path / f"of-{n}.yaml"
        settings = config(attack=["pgd-3+apgd-ce"], out=str(folder))
        recipe.write_text(yaml.safe_dump(to_plain(settings)))
        run = processes(n, str(tmp_path / "small_chunks.py"), "evaluate", "--config", str(recipe))
        assert run.returncode == 0, run.stderr
        assert run.stdout.count("average of 2 unseen") == 1
        found[n] = Results.read(folder / "results.json"), pq.read_table(folder / "outcomes.parquet")
    (one, its_outcomes), (two, their_outcomes) = found.values()
    assert one.rows == two.rows
    assert its_outcomes.equals(their_outcomes)
    assert [results.environment["processes"] for results in (one, two)] == [1, 2]
    # In chunks of 100 as well: the library's attack has its draws for each chunk, and no luck here.
    whole = evaluate(config(attack=["pgd-3+apgd-ce"]))
    assert [row.robust_acc for row in whole.rows] == [row.robust_acc for row in one.rows]


def robust(results, attack):
    return {(r.dataset, r.eps): r.robust_acc for r in results.rows if r.attack == attack}


def test_an_ensemble_is_the_worst_of_its_parts_on_each_sample(config, tmp_path):
    whole = evaluate(config(attack=["pgd-3+cw-3+noise-5"]))
    names = ["pgd-3", "cw-3", "noise-5"]
    apart = evaluate(config(attack=names, out=str(tmp_path / "apart")))
    table = pq.read_table(tmp_path / "apart" / "outcomes.parquet").to_pylist()
    standing = {}
    for line in table:
        key = (line["dataset"], line["eps"], line["sample_id"])
        right = line["label"] == line["clean_prediction"] == line["adversarial_prediction"]
        standing[key] = standing.get(key, True) and right
    for row in whole.rows:
        mine = [v for (d, e, _), v in standing.items() if (d, e) == (row.dataset, row.eps)]
        assert row.robust_acc == sum(mine) / len(mine)
        assert list(row.after_part) == names
        steps = [row.clean_acc, *row.after_part.values()]
        assert steps == sorted(steps, reverse=True)
        assert steps[1] == robust(apart, "pgd-3")[row.dataset, row.eps]
        assert steps[-1] == row.robust_acc


def test_library_attacks_do_not_depend_on_batch_size(config, tmp_path):
    settings = {"attack": ["apgd-ce"], "eps": [Eps("2/255")]}
    one = evaluate(config(**settings, batch_size=1))
    other = evaluate(config(**settings, batch_size=64, out=str(tmp_path / "other")))
    assert [row.robust_acc for row in one.rows] == [row.robust_acc for row in other.rows]
    one, other = (
        pq.read_table(tmp_path / name / "outcomes.parquet")["adversarial_loss"].to_pylist()
        for name in ("out", "other")
    )
    assert one == pytest.approx(other, abs=1e-5)


def test_few_classes_get_what_is_defined_for_them(config):
    with pytest.raises(RequestError, match="no attack is left for one: apgd-t left out"):
        evaluate(config(attack=["apgd-t"]))
    results = evaluate(config(attack=["apgd-t", "pgd-3"], eps=[Eps("2/255")]))
    assert {row.attack for row in results.rows} == {"pgd-3"}
    for data in results.protocol["data"].values():
        assert data["attack_notes"] == {"apgd-t": "apgd-t left out: it needs 4 classes, here 3"}
    capped = evaluate(
        config(attack=["fab-t"], eps=[Eps("2/255")], out=str(Path(config().out) / "../capped"))
    )
    assert {row.note for row in capped.rows} == {"fab-t with 2 of 9 target classes"}
    shown = accuracy_table(capped)
    assert "* two: fab-t with 2 of 9 target classes" in shown.notes
    assert all(line[-1].endswith("*") for group in shown.groups for line in group)


def test_options_that_no_attack_takes_are_refused(config):
    with pytest.raises(RequestError, match="no attack asked for takes these options"):
        evaluate(config(attack=["apgd-ce"], pgd=PGDOptions(restarts=5)))
    with pytest.raises(RequestError, match="pgd-3 twice"):
        evaluate(config(attack=["pgd-3", "pgd-03"]))


def test_the_worse_of_two_outcomes_counts():
    """An ensemble's part that was also run alone may have fallen upon more."""
    ensemble = Outcomes(
        *(["a", "b", "c"], [0, 0, 0], [0, 1, 0], [0.1, 2.0, 0.3], [5.0, -1.0, 4.0]),
        ["", "cw-3", ""],
    )
    alone = Outcomes(
        *(["a", "b", "c"], [0, 0, 0], [2, 0, 0], [3.0, 0.2, 0.4], [-2.0, 3.0, 5e-5]),
        ["square", "", ""],
    )
    worst = ensemble.worst_with(alone)
    assert worst.fell_to == ["square", "cw-3", ""]
    assert worst.predictions == [2, 1, 0]
    assert worst.losses == [3.0, 2.0, 0.3]
    assert worst.margins == [-2.0, -1.0, 4.0]
    assert (worst.ties, alone.ties) == (0, 1)


def test_transfer_attacks_one_model_and_tries_another(config, tuned, small_clip, sets):
    name = f"transfer(pgd-3, {tuned})"
    results = evaluate(config(attack=[name], eps=[Eps("8/255")]))
    surrogate, model = load(tuned), load(small_clip)
    folder = sets[1].split(":")[1]
    paths = sorted(Path(folder).rglob("*.png"))
    names = sorted({path.parent.name for path in paths})
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    labels = torch.tensor([names.index(path.parent.name) for path in paths])
    ids = [path.relative_to(folder).as_posix() for path in paths]
    made = PGD(ThreatModel(eps=8 / 255), steps=3)(surrogate.classifier(names), images, labels, ids)
    right = [model.classifier(names)(x).argmax(-1) == labels for x in (images, made)]
    assert robust(results, name)["two", 8 / 255] == float((right[0] & right[1]).float().mean())
    with pytest.raises(RequestError, match="no folder /nowhere"):
        evaluate(config(attack=["transfer(pgd-3, local-dir:/nowhere)"], overwrite=True))


def test_l2_radii_may_pass_one(config, tmp_path):
    results = evaluate(config(norm="l2", eps=[Eps(0.5), Eps(40)], attack=["pgd-3"]))
    assert {(row.norm, row.eps) for row in results.rows} == {("l2", 0.5), ("l2", 40.0)}
    # At 32 px black and white are 55.4 apart.
    for lengths in ({"eps": [Eps(56)]}, {"eps": [Eps(1)], "pgd": PGDOptions(step_size=Eps(56))}):
        with pytest.raises(RequestError, match=r"is 56\.0: must be below 55\.43"):
            evaluate(config(norm="l2", attack=["pgd-3"], out=str(tmp_path / "long"), **lengths))


def test_bad_transfer_names_are_refused_before_loading(config):
    for name in ("transfer(pgd-3)", "transfer(pgd-3, nowhere", "pgd-3+transfer(pgd-3, nowhere)"):
        with pytest.raises(RequestError, match=r"transfer\(|no part of another"):
            evaluate(config(attack=[name], model=["nowhere"]))
    with pytest.raises(RequestError, match="there is no attack 'nowhere'"):
        evaluate(config(attack=["transfer(nowhere, pgd-3)"]))
