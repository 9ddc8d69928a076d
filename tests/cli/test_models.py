import json
import subprocess
import sys

import pytest

from zsrobust.cli.main import main
from zsrobust.cli.output import Output
from zsrobust.models.zoo import entries


def told(capsys, *argv, code=0):
    assert main(["models", *argv]) == code
    return capsys.readouterr()


def test_every_model_has_a_row_with_what_is_claimed(capsys):
    lines = told(capsys).out.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.strip()}
    assert set(entries()) <= set(rows)
    assert rows["zoo:fare1-vit-b-32"][-4:] == ["60.5", "38.0", "20.1", "2.9"]
    assert rows["zoo:fare2-vit-l-14"][-3:] == ["67.0", "43.1", "20.5"]
    assert rows["glyph-clip"][-1] == "MIT"


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_list_fits_the_terminal_with_every_name_whole(capsys, monkeypatch, width):
    monkeypatch.setattr(Output, "width", width)
    *lines, note, _ = told(capsys).out.splitlines()
    assert max(map(len, lines)) <= width
    assert set(entries()) <= {line.split()[0] for line in lines}
    left_out = note.partition(f"left out at {width} columns: ")[2].split(", ")
    assert set(lines[0].split()) | set(left_out) == {
        *("model", "architecture", "px", "method", "eps", "licence"),
        *("clean", "1/255", "2/255", "4/255"),
    }


@pytest.mark.parametrize("name", ["zoo:fare2-vit-l-14", "fare2-vit-l-14"])
def test_one_model_is_shown_whole(capsys, name):
    shown = told(capsys, name).out
    for fact in ("hf-hub:chs20/fare2-clip", "ViT-L-14/openai", "2402.12336", "67.0 clean", "PCAM"):
        assert fact in shown
    assert "not stated" in told(capsys, "advflyp-vit-b-32").out


def test_json_holds_all_of_it(capsys):
    models = json.loads(told(capsys, "--json").out)["models"]
    assert [one["name"] for one in models] == list(entries())
    one = json.loads(told(capsys, "tecoa2-vit-l-14", "--json").out)
    assert one in models
    assert one["claims"]["robust"] == {"2/255": 43.6, "4/255": 27.0}


def test_an_unknown_name_is_refused_with_the_nearest(capsys):
    assert "did you mean zoo:fare4-vit-l-14" in told(capsys, "fare4-vit-l14", code=2).err


def test_the_list_needs_neither_torch_nor_network():
    check = (
        "import sys; from zsrobust.cli.main import main; code = main(['models']); "
        "sys.exit(code or bool({'torch', 'huggingface_hub', 'open_clip'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
