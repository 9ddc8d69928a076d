import json
import stat

import pytest

from zsrobust.cli.main import main
from zsrobust.export.request import ExportRequest, class_names_from
from zsrobust.utils.errors import RequestError
from zsrobust.utils.files import sha256_of


@pytest.fixture
def run(source, tuned):
    return tuned(source(quick_gelu=True))


def test_from_the_command_line(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "run", "--to", "tecoa", "--json"]) == 0
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert told["folder"] == "exports/run-tecoa"
    assert told["largest_difference"] == 0
    assert "authors_code" in err
    folder = tmp_path / told["folder"]
    assert sorted(told["files"]) == sorted(file.name for file in folder.iterdir())
    mark = json.loads((folder / "zsrobust_export.json").read_text())
    assert mark["files"] == {
        name: sha256_of(folder / name) for name in ("README.md", "model.pth.tar")
    }
    assert stat.S_IMODE((folder / "model.pth.tar").stat().st_mode) & 0o444 == 0o444


def test_a_taken_folder_is_refused_and_an_export_can_be_replaced(run, tmp_path, capsys):
    argv = ["export", run, "--to", "tecoa", "--out", str(tmp_path / "out")]
    assert main(argv) == 0
    assert main(argv) == 2
    assert "holds an export: name another folder, or use overwrite" in capsys.readouterr().err
    assert main([*argv, "--overwrite"]) == 0
    (tmp_path / "out" / "thesis.txt").touch()
    assert main([*argv, "--overwrite"]) == 2
    assert "files that no export wrote, such as thesis.txt" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.txt").exists()
    assert main([*argv[:-1], run]) == 2
    assert "holds files and is no export" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([*argv[:-1], str(tmp_path / "file")]) == 2
    assert "is a file: name a folder" in capsys.readouterr().err
    assert main([*argv[:-1], "/proc/out"]) == 2
    assert "out /proc/out cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["x"], "the following arguments are required: --to; see zsrobust export --help"),
        (["x", "--to", "onx"], "there is no --to 'onx': did you mean onnx"),
        (["nowhere", "--to", "tecoa"], "model 'nowhere' is unknown"),
        (["x", "--to", "tecoa", "--class_names", "a"], "class_names is a: must be left out"),
        (["x", "--to", "tecoa", "--resolution", "9"], "resolution is 9: must be left out"),
        (["x", "--to", "onnx", "--resolution", "0"], "resolution is 0: must be from 1"),
        (["x", "--to", "onnx", "--templates", "{}"], "must be given with class_names"),
        (["x", "--to", "onnx", "--class_names", "a", "a"], "class_names is a twice"),
        (["x", "--to", "onnx", "--class_names", "a", "--templates", "t"], "must be text with {}"),
        (["glyph-clip", "--to", "tecoa", "--results", "/none"], "/none has no results.json"),
    ],
)
def test_bad_requests_are_one_sentence(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["export", *argv]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "exports").exists()


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("ViT-B-32/openai", "ViT-B-32-openai-onnx"),
        ("hf-hub:org/my model", "hf-hub-org-my-model-onnx"),
        ("../../etc/passwd", "etc-passwd-onnx"),
        ("a\nb/$(rm -rf ~)", "a-b-rm-rf-onnx"),
        ("///", "model-onnx"),
        ("x" * 300, "x" * 80 + "-onnx"),
        ("wise(runs/a, 0.5)", "wise-runs-a-0.5-onnx"),
    ],
)
def test_default_folders_have_plain_names(model, name):
    assert str(ExportRequest(model, "onnx").folder) == f"exports/{name}"


def test_a_run_and_its_model_folder_have_the_run_s_name(tmp_path):
    (tmp_path / "my run" / "model").mkdir(parents=True)
    for name in (tmp_path / "my run", tmp_path / "my run" / "model"):
        assert ExportRequest(str(name), "onnx").folder.name == "my-run-onnx"


def test_class_names_come_from_words_or_a_file(tmp_path):
    assert class_names_from(["cat", "dog"]) == ("cat", "dog")
    assert class_names_from(["cat"]) == ("cat",)
    file = tmp_path / "names.txt"
    file.write_text("cat\n\n red dog \n", encoding="utf-8")
    assert class_names_from([str(file)]) == ("cat", "red dog")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(RequestError, match="cannot be read as text"):
        class_names_from([str(file)])
    file.write_text("\n")
    with pytest.raises(RequestError, match="a file with a name a line"):
        class_names_from([str(file)])
