import io
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from zsrobust.data.registry import open_set
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError

FEATURES = datasets.Features(
    {"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["Barn_Owl", "tit"])}
)


def pixels(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (9, 11, 3), np.uint8)


def rows(n: int, features: datasets.Features = FEATURES, **columns) -> datasets.Dataset:
    images = [Image.fromarray(pixels(i)) for i in range(n)]
    table = {"photo": images, "kind": [i % 2 for i in range(n)], **columns}
    return datasets.Dataset.from_dict(table, features=features)


@pytest.fixture
def saved(tmp_path: Path):
    def save(stored: datasets.Dataset | datasets.DatasetDict) -> Path:
        stored.save_to_disk(str(tmp_path / "birds"))
        return tmp_path / "birds"

    return save


def test_columns_are_found_by_their_features(saved) -> None:
    found = open_set(f"huggingface:{saved(rows(3))}", "test")
    assert (found.name, found.split, found.class_names) == ("birds", "all", ("barn owl", "tit"))
    assert list(found.labels) == [0, 1, 0]
    assert list(found.sample_ids) == ["0", "1", "2"]
    for index in range(3):
        np.testing.assert_array_equal(np.asarray(found.read_rgb(index)), pixels(index))


def test_the_role_picks_the_split(saved) -> None:
    root = saved(datasets.DatasetDict({"train": rows(4), "validation": rows(2)}))
    assert len(open_set(f"huggingface:{root}", "train")) == 4
    assert open_set(f"huggingface:{root}", "test").split == "validation"
    with pytest.raises(RequestError, match="no split 'dev': it has train, validation, all"):
        open_set(f"huggingface:{root},split=dev", "test")
    assert len(open_set(f"huggingface:{root},split=all", "test")) == 6


def test_the_stored_orientation_is_applied_as_in_every_other_set(saved) -> None:
    turned = Image.fromarray(pixels(0))
    exif = turned.getexif()
    exif[0x0112] = 6
    held = io.BytesIO()
    turned.save(held, "PNG", exif=exif)
    stored = datasets.Dataset.from_dict(
        {"photo": [{"bytes": held.getvalue(), "path": None}], "kind": [0]}, features=FEATURES
    )
    assert open_set(f"huggingface:{saved(stored)}", "test").read_rgb(0).size == (9, 11)


def test_one_class_alone_is_refused(saved) -> None:
    features = datasets.Features(
        {"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["owl"])}
    )
    root = saved(rows(1, features))
    with pytest.raises(RequestError, match=r"one class alone \(owl\)"):
        open_set(f"huggingface:{root}", "test")


def test_columns_and_names_may_be_given(saved, tmp_path: Path) -> None:
    features = datasets.Features(
        {
            "photo": datasets.Image(),
            "mask": datasets.Image(),
            "kind": datasets.Value("int64"),
            "word": datasets.Value("string"),
        }
    )
    masks = [Image.new("L", (3, 2)) for _ in range(2)]
    root = saved(rows(2, features, mask=masks, word=["owl", "hen"]))
    words = open_set(f"huggingface:{root},image=mask,label=word", "test")
    assert (words.class_names, list(words.labels)) == (("hen", "owl"), [1, 0])
    assert words.read_rgb(0).size == (3, 2)
    (tmp_path / "names.txt").write_text("Owl\nTit\nDuck\n")
    named = f"huggingface:{root},image=photo,label=kind,names={tmp_path / 'names.txt'}"
    assert open_set(named, "test").class_names == ("Owl", "Tit", "Duck")
    for spec, message in [
        (f"huggingface:{root}", "has 2 columns of type Image: name the one meant with image="),
        (f"huggingface:{root},image=photo", "has no columns of type ClassLabel: .*label=COLUMN"),
        (f"huggingface:{root},image=pic", "no column 'pic': it has photo, kind, mask, word"),
        (f"huggingface:{root},image=photo,label=kind", "are numbers: give their names"),
    ]:
        with pytest.raises(RequestError, match=message):
            open_set(spec, "test")


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        (datasets.Value("float64"), [0.0, 1.0]),
        (datasets.Value("bool"), [True, False]),
        (datasets.Image(), [Image.new("L", (3, 2)), Image.new("L", (2, 3))]),
    ],
)
def test_a_column_that_cannot_be_labels_is_told(saved, tmp_path: Path, feature, values) -> None:
    root = saved(rows(2, datasets.Features({**FEATURES, "odd": feature}), odd=values))
    (tmp_path / "names.txt").write_text("Owl\nTit\n")
    for names in ("", f",names={tmp_path / 'names.txt'}"):
        with pytest.raises(RequestError, match=r"labels of .* in column 'odd' are of type"):
            open_set(f"huggingface:{root},image=photo,label=odd{names}", "test")


def test_a_names_file_is_joined_to_the_features_own_names(saved, tmp_path: Path) -> None:
    def opened(own: list[str], text: str):
        features = datasets.Features({**FEATURES, "kind": datasets.ClassLabel(names=own)})
        labels = list(range(len(own)))
        root = saved(rows(len(own), features, kind=labels))
        (tmp_path / "names.txt").write_text(text)
        found = open_set(f"huggingface:{root},names={tmp_path / 'names.txt'}", "test")
        return tuple(found.class_names[label] for label in found.labels)

    assert opened(["Barn_Owl", "tit"], "tit\nBarn owl\n") == ("Barn owl", "tit")
    assert opened(["Barn_Owl", "tit"], "Screamer\nGreat tit\n") == ("Screamer", "Great tit")
    assert opened(["Barn_Owl", "tit"], "1\tTit\n0\tOwl\n") == ("Owl", "Tit")
    assert opened(["Barn_Owl", "tit"], "tit\tTit\nBarn_Owl\tOwl\n") == ("Owl", "Tit")
    with pytest.raises(RequestError, match="by its spelling"):
        opened(["owl", "tit"], "Tit\nDuck\n")
    # As a folder of class folders is turned into a data set: sorted as text.
    text = sorted(map(str, range(12)))
    words = [f"word {chr(97 + i)}" for i in range(12)]
    assert opened(text, "\n".join(words) + "\n") == tuple(words[int(own)] for own in text)


def test_class_labels_that_are_codes_are_refused(saved) -> None:
    for own, message in ((["0", "1"], "are numbers"), (["n02124075", "n01443537"], "WordNet")):
        features = datasets.Features({**FEATURES, "kind": datasets.ClassLabel(names=own)})
        with pytest.raises(RequestError, match=message):
            open_set(f"huggingface:{saved(rows(2, features))}", "test")


@pytest.mark.parametrize("kind", ["int8", "uint16", "int64", "string", "large_string"])
def test_whole_numbers_and_strings_of_any_width_are_labels(saved, tmp_path, kind: str) -> None:
    values = [1, 0] if "int" in kind else ["1", "0"]
    features = datasets.Features({**FEATURES, "word": datasets.Value(kind)})
    (tmp_path / "names.txt").write_text("Owl\nTit\n")
    spec = f"huggingface:{saved(rows(2, features, word=values))},label=word"
    found = open_set(f"{spec},names={tmp_path / 'names.txt'}", "test")
    assert list(found.labels) == [1, 0]


@pytest.mark.parametrize(("kind", "values"), [("string", ["owl", None]), ("int64", [0, None])])
def test_a_missing_label_is_told_and_names_no_class(saved, tmp_path, kind: str, values) -> None:
    features = datasets.Features({**FEATURES, "word": datasets.Value(kind)})
    spec = f"huggingface:{saved(rows(2, features, word=values))},label=word"
    with pytest.raises(RequestError, match=r"the label '' of .* gives no class name"):
        open_set(spec, "test")
    (tmp_path / "names.txt").write_text("owl\nNone\n")
    with pytest.raises(RequestError, match="row 1 has the label ''"):
        open_set(f"{spec},names={tmp_path / 'names.txt'}", "test")


def test_a_column_without_images_is_told(saved) -> None:
    with pytest.raises(RequestError, match=r"column 'kind' of .* holds no images") as caught:
        open_set(f"huggingface:{saved(rows(2))},image=kind", "test")
    assert "\n" not in str(caught.value)


def test_splits_whose_classes_differ_are_told(saved) -> None:
    other = datasets.Features({**FEATURES, "kind": datasets.ClassLabel(names=["tit", "Barn_Owl"])})
    root = saved(datasets.DatasetDict({"train": rows(2), "test": rows(2, other)}))
    with pytest.raises(RequestError, match=r"differ in columns or classes \(train, test\)"):
        open_set(f"huggingface:{root},split=all", "test")
    assert open_set(f"huggingface:{root}", "test").class_names == ("tit", "barn owl")


def test_a_row_without_a_label_or_an_image_is_told(saved) -> None:
    stored = datasets.Dataset.from_dict(
        {"photo": [Image.fromarray(pixels(0)), None], "kind": [0, 1]}, features=FEATURES
    )
    images = open_set(f"huggingface:{saved(stored)}", "test")
    with pytest.raises(RequestError, match="birds/all 1: the row has no image"):
        verify(images, "stop")


def test_an_unlabelled_split_is_told(tmp_path: Path) -> None:
    stored = datasets.Dataset.from_dict(
        {"photo": [Image.fromarray(pixels(0))], "kind": [-1]}, features=FEATURES
    )
    stored.save_to_disk(str(tmp_path / "unlabelled"))
    with pytest.raises(RequestError, match=r"row 0 has the label '-1': .*labels 0 to 1"):
        open_set(f"huggingface:{tmp_path / 'unlabelled'}", "test")


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="names no file or folder"):
        open_set("huggingface:/absent", "test")
    with pytest.raises(RequestError, match="give a folder that save_to_disk"):
        open_set(f"huggingface:{tmp_path}", "test")


def test_another_content_has_another_stamp(tmp_path: Path) -> None:
    stamps = []
    for n in (2, 3):
        rows(n).save_to_disk(str(tmp_path / str(n)))
        stamps.append(open_set(f"huggingface:{tmp_path / str(n)}", "test").stamp)
    assert stamps[0] != stamps[1]
    assert open_set(f"huggingface:{tmp_path / '2'}", "test").stamp == stamps[0]
