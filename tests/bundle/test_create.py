import getpass
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zsrobust.bundle.anonymous import anonymous
from zsrobust.bundle.archive import read_archive
from zsrobust.bundle.create import write_bundle
from zsrobust.bundle.verify import verify
from zsrobust.cli.main import main
from zsrobust.evaluation.evaluated_run import EvaluatedRun
from zsrobust.utils.errors import RequestError


def test_equal_evaluations_give_equal_files(made_run, tmp_path):
    for name in ("one", "other"):
        write_bundle(EvaluatedRun.read(made_run(tmp_path / name)), tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "other.zip").read_bytes()


def test_the_manifest_says_what_it_is_of(bundle, tmp_path):
    (tmp_path / "run.zip").write_bytes(bundle)
    manifest = read_archive(tmp_path / "run.zip").manifest
    assert manifest["models"]["runs/tecoa"] == {
        "weights": "0000000000000002",
        "method": "tecoa",
        "source": "clip",
    }
    assert manifest["threat_models"] == [{"norm": "linf", "eps": 1 / 255}]
    assert [attack["name"] for attack in manifest["attacks"]] == ["pgd-10", "autoattack"]
    data = manifest["data"]["cifar10"]
    assert (data["n"], data["classes"], data["split"]) == (40, 10, "test")
    assert manifest["environment"]["device"] == "cpu"
    assert manifest["request"]["eps"] == ["1/255"]
    assert "out" not in manifest["request"]


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/home/ann/runs/tecoa", ".../tecoa"),
        ("local-dir:/home/ann/models/clip/", "local-dir:.../clip"),
        ("imagefolder:~/photos,name=mine", "imagefolder:.../photos,name=mine"),
        ("transfer(pgd-10, /data/x/clip)", "transfer(pgd-10, .../clip)"),
        ("under /mnt/a/b", "under .../b"),
        (r"C:\Users\Ann\runs\tecoa", ".../tecoa"),
        (r"\\server\share\run", ".../run"),
        ("runs/tecoa", "runs/tecoa"),
        ("1/255", "1/255"),
        ("his / hers", "his / hers"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ("a photo of a {}.", "a photo of a {}."),
        ("ViT-B-32/openai", "ViT-B-32/openai"),
    ],
)
def test_absolute_paths_are_shortened(text, short):
    assert anonymous({text: [text, 1, None]}) == {short: [short, 1, None]}


def test_a_home_with_spaces_is_shortened(monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann b"))
    assert anonymous("/home/ann b/runs/x") == ".../x"


def test_what_still_names_the_user_is_refused(monkeypatch):
    monkeypatch.setattr(getpass, "getuser", lambda: "ann")
    for text in ("../ann/runs/tecoa", "imagefolder:/home/ann", "ann/runs", "/data/ann,name=x"):
        with pytest.raises(RequestError, match="names a folder of ann"):
            anonymous(text)
    assert anonymous(["ann", "runs/anna/x", "joann/x"]) == ["ann", "runs/anna/x", "joann/x"]


def test_names_that_become_one_are_refused():
    with pytest.raises(RequestError, match=r"two names become '\.\.\./x'"):
        anonymous({"/a/x": 1, "/b/x": 2})


def test_no_path_of_the_sender_is_in_the_file(made_run, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ann"))
    models = {"clip": "original", "/home/ann/runs/tecoa": "tecoa"}
    folder = made_run(tmp_path / "run", models=models, source="local-dir:/home/ann/clip")
    table = pq.read_table(folder / "outcomes.parquet")
    pq.write_table(
        table.replace_schema_metadata({"made in": "/home/ann"}), folder / "outcomes.parquet"
    )
    write_bundle(EvaluatedRun.read(folder), tmp_path / "run.zip")
    content = (tmp_path / "run.zip").read_bytes()
    assert b"ann" not in content.replace(b"cannot", b"").replace(b"channel", b"")
    archive = read_archive(tmp_path / "run.zip")
    assert set(archive.manifest["models"]) == {"clip", ".../tecoa"}
    assert verify(archive).contradictions == []
    held = pq.read_table(pa.BufferReader(archive.outcomes))
    assert set(held["model"].to_pylist()) == {"clip", ".../tecoa"}
    for name in set(table.column_names) - {"model", "key"}:
        assert held[name].to_pylist() == table[name].to_pylist()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, os.strerror(28))])
def test_nothing_half_written_stays(stop, made_run, tmp_path, monkeypatch):
    run = EvaluatedRun.read(made_run(tmp_path / "run"))
    out = tmp_path / "out" / "run.zip"
    out.parent.mkdir()
    out.write_bytes(b"before")

    def interrupted(*_):
        raise stop

    monkeypatch.setattr("zsrobust.utils.files.sync", interrupted)
    with pytest.raises((KeyboardInterrupt, RequestError)):
        write_bundle(run, out)
    assert [path.name for path in out.parent.iterdir()] == ["run.zip"]
    assert out.read_bytes() == b"before"


def test_figures_that_contradict_the_outcomes_are_not_bundled(made_run, here, capsys):
    folder = made_run(here / "run")
    content = json.loads((folder / "results.json").read_text())
    content["results"][0]["robust_acc"] = 0.9
    (folder / "results.json").write_text(json.dumps(content))
    assert main(["bundle", "run"]) == 2
    error = capsys.readouterr().err
    assert "run contradicts itself" in error
    assert "robust_acc is 0.9, and the outcomes give" in error
    assert [path.name for path in here.iterdir()] == ["run"]


def test_the_command_writes_and_refuses(made_run, here, capsys):
    made_run(here / "run")
    (here / "empty").mkdir()
    assert main(["bundle", "run"]) == 0
    assert "run.zip: clip (weights 0000000000000001), runs/tecoa" in capsys.readouterr().out
    before = (here / "run.zip").read_bytes()
    for argv, said in (
        (["run"], "run.zip is there already"),
        (["run", "--out", "empty"], "empty is a folder"),
        (["empty"], "has no results.json"),
        (["nothing"], "nothing is not a folder"),
        ([], "required: RUN"),
    ):
        assert main(["bundle", *argv]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert main(["bundle", "run", "--overwrite"]) == 0
    assert (here / "run.zip").read_bytes() == before
