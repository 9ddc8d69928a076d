import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from zsrobust.data.registry import kinds, open_set
from zsrobust.utils.errors import RequestError


@pytest.mark.parametrize(("role", "split", "n"), [("train", "train", 9), ("test", "val", 6)])
def test_the_role_picks_the_split(tiny_root: Path, role, split: str, n: int) -> None:
    opened = open_set(f"tiny-imagenet:{tiny_root}", role)
    assert (opened.name, opened.split, len(opened)) == ("tiny-imagenet", split, n)


def test_a_split_asked_for_wins_over_the_role(tiny_root: Path) -> None:
    assert open_set(f"tiny-imagenet:{tiny_root},split=val", "train").split == "val"


def test_classes_are_trained_on_or_left_out() -> None:
    whole = open_set("digits", "train")
    kept, left_out = open_set("digits,classes=7", "train"), open_set("digits,classes=-3", "train")
    assert len(kept) + len(left_out) == len(whole)
    assert {*kept.class_names, *left_out.class_names} == {*whole.class_names}
    assert not {*kept.class_names} & {*open_set("digits,classes=-3", "test").class_names}
    index = left_out.sample_ids[0], whole.sample_ids.index(left_out.sample_ids[0])
    assert left_out.read_rgb(0).tobytes() == whole.read_rgb(index[1]).tobytes()


def test_digits_need_no_path() -> None:
    train, test = open_set("digits", "train"), open_set("digits", "test")
    assert (train.split, test.split) == ("train", "test")
    assert len(train) + len(test) == 1797


def test_keys_reach_the_set(folder_root: Path, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("Hound\nCat\n")
    (tmp_path / "templates.txt").write_text("a drawing of a {}\n")
    opened = open_set(
        f"imagefolder:{folder_root},name=mine,resolution=48,names={tmp_path / 'names.txt'},"
        f"templates={tmp_path / 'templates.txt'}",
        "test",
    )
    assert opened.name == "mine"
    assert opened.resolution == 48
    assert opened.class_names == ("Hound", "Cat")
    assert opened.templates == ("a drawing of a {}",)


def test_a_sets_own_templates_stay_unless_replaced(folder_root: Path) -> None:
    assert open_set("digits", "test").templates
    assert open_set(f"imagefolder:{folder_root}", "test").templates == ()


def test_a_path_with_commas_opens(folder_root: Path) -> None:
    target = folder_root.with_name("pets, 2024,v1=final")
    folder_root.rename(target)
    assert open_set(f"imagefolder:{target},split=all", "train").name == "pets, 2024,v1=final"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("moonset:/x", "unknown kind 'moonset': the kinds are " + ", ".join(kinds())),
        ("", "unknown kind ''"),
        ("imagefolder", "lacks its path: write imagefolder:PATH"),
        ("imagefolder:", "lacks its path"),
        ("imagefolder:/absent/pets", "'imagefolder:/absent/pets' names no folder.*a class"),
        (f"imagefolder:{Path(__file__).parent}s", rf"did you mean {Path(__file__).parent}\?"),
        ("tiny-imagenet:/absent/t", "'tiny-imagenet:/absent/t' names no folder.*val_annotations"),
        ("cifar10:/absent", r"cifar-10-batches-py.*CIFAR10\('PATH', download=True\)"),
        ("cifar100:/absent", r"cifar-100-python.*CIFAR100\('PATH', download=True\)"),
        ("digits:/x", "gives a path"),
        ("digits,split=val", "no split 'val': digits has train and test"),
        ("imagefolder:/x,split=test", "no split 'test': imagefolder has all"),
        ("tiny-imagenet:/x,split=test", "no split 'test': tiny-imagenet has train and val"),
        ("digits,names=/n.txt", "names is for imagefolder"),
        ("digits,colour=red", "unknown key 'colour'"),
        ("dtd", "lacks its path: write dtd:PATH, where PATH holds dtd/dtd/labels/test1.txt"),
        ("dtd:/absent", "zsrobust data prepare dtd fetches it"),
        ("dtd:/x,split=all", "no split 'all': dtd has train and test and val"),
        ("digits,prompts=clip", "digits is no published set"),
        ("dtd:/x,prompts=mine", "unknown prompts 'mine': the presets are paper, authors_code"),
    ],
)
def test_wrong_requests_are_refused_in_one_sentence(spec: str, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        open_set(spec, "test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "files", "kind"),
    [
        ("./photos", ["cat/0.png"], "imagefolder"),
        ("my photos", ["cat/0.png"], "imagefolder"),
        ("photos.csv", [], "csv"),
        ("photos.tsv", [], "csv"),
        ("arrow", ["state.json", "dataset_info.json"], "huggingface"),
        ("arrow", ["dataset_dict.json"], "huggingface"),
        ("shards", ["train-000.tar"], "webdataset"),
        ("shards", ["index.json", "samples.parquet"], "webdataset"),
        ("tiny", ["wnids.txt", "val/x.txt"], "tiny-imagenet"),
        ("cifar-10-batches-py", ["data_batch_1"], "cifar10"),
        ("sets", ["dtd/dtd/labels/test1.txt", "dtd/dtd/images/x"], "dtd"),
    ],
)
def test_data_without_its_kind_is_refused_with_what_to_write(
    tmp_path: Path, monkeypatch, place: str, files: list[str], kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in [f"{place}/{file}" for file in files] or [place]:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).touch()
    with pytest.raises(RequestError) as caught:
        open_set(f"{place},resolution=64", "test")
    # A shell reads the words back.
    written = str(caught.value).partition("write ")[2]
    assert shlex.split(written) == [f"{kind}:{place},resolution=64"]


@pytest.mark.parametrize(
    "place", ["shards/x-{000..009}.tar", "shards/*.tar", "https://host/x-{0..9}.tar", "s3://b/x"]
)
def test_shards_without_their_kind(place: str) -> None:
    with pytest.raises(RequestError, match="names no kind of data") as caught:
        open_set(place, "test")
    assert shlex.split(str(caught.value))[-1] == f"webdataset:{place}"


def test_an_archive_is_to_be_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "archive.zip"
    archive.write_bytes(b"PK")
    with pytest.raises(RequestError, match="is a file, but no table or shard: unpack it"):
        open_set(str(archive), "test")


@pytest.mark.parametrize("place", ["./absent", "~nobody/x", "a/b", "C:\\data", "C:/data", "x.zip"])
def test_what_is_no_kind_but_a_path_is_said_to_be_absent(place: str) -> None:
    with pytest.raises(RequestError, match=r"no folder, table or shard.*imagefolder:"):
        open_set(place, "test")


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("ImageFolder:x", "imagefolder:x"),
        ("image-folder:x,name=y", "imagefolder:x,name=y"),
        ("imagefoldr:my x", "'imagefolder:my x'"),
        ("CSV:x.csv", "csv:x.csv"),
        ("tinyimagenet:/x", "tiny-imagenet:/x"),
        ("Cifar-10:/x", "cifar10:/x"),
        ("Glyphs", "glyphs"),
    ],
)
def test_a_misspelt_kind_is_answered_with_the_nearest(spec: str, meant: str) -> None:
    with pytest.raises(RequestError, match="there is no data") as caught:
        open_set(spec, "test")
    assert f"did you mean {meant}?" in str(caught.value)


def test_importing_the_registry_imports_no_heavy_library() -> None:
    code = (
        "import sys, zsrobust.data.registry, zsrobust.data.verify; "
        "print({'torch', 'torchvision', 'sklearn'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_python_is_told_how_a_set_was_read(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "0.png")
    (tmp_path / "dog" / "1.heic").write_bytes(b"0")
    with pytest.warns(UserWarning, match=r"1 files .*\.heic") as told:
        images = open_set(f"imagefolder:{tmp_path}", "test")
    assert [str(one.message) for one in told] == list(images.notes)
    assert told[0].filename == __file__
