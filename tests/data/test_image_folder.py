import shutil
from pathlib import Path

import pytest

from zsrobust.data.image_folder import image_folder
from zsrobust.utils.errors import RequestError


def test_classes_sorted_names_cleaned_images_found_at_any_depth(folder_root: Path) -> None:
    pets = image_folder(folder_root)
    assert (pets.name, pets.split) == ("pets", "all")
    assert pets.class_names == ("dog", "tabby cat")
    assert pets.sample_ids == ("dog/c.jpeg", "tabby_Cat/a.png", "tabby_Cat/more/b.JPG")
    assert pets.labels == (0, 1, 1)
    assert pets.native_size is None
    assert pets.read_rgb(1).size == (12, 10)


def test_names_from_a_file(folder_root: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("tabby_Cat\tTabby\ndog\tGolden Retriever\n")
    assert image_folder(folder_root, names).class_names == ("Golden Retriever", "Tabby")


@pytest.mark.parametrize(
    ("path", "name"),
    [("cifar10/test", "cifar10-test"), ("food/Train", "food-Train"), ("stl10", "stl10")],
)
def test_the_set_is_named_after_its_folder(folder_root: Path, path: str, name: str) -> None:
    target = folder_root.parent / path
    target.parent.mkdir(exist_ok=True)
    folder_root.rename(target)
    assert image_folder(target).name == name
    assert image_folder(target / "dog" / "..").name == name


def test_a_relative_path_is_named_too(folder_root: Path, monkeypatch) -> None:
    monkeypatch.chdir(folder_root)
    assert image_folder(Path()).name == "pets"


def test_empty_class_folders_are_named(folder_root: Path) -> None:
    (folder_root / "emu").mkdir()
    (folder_root / "fox").mkdir()
    (folder_root / "fox/notes.txt").touch()
    with pytest.raises(RequestError, match=r"2 class folders .*\(emu, fox\)"):
        image_folder(folder_root)


def test_no_image_at_all_and_no_folder_at_all(folder_root: Path, write_image) -> None:
    for path in (folder_root / "dog/c.jpeg", folder_root / "tabby_Cat/a.png"):
        path.unlink()
    (folder_root / "tabby_Cat/more/b.JPG").rename(folder_root / "loose.JPG")
    with pytest.raises(RequestError, match="no image in any class folder"):
        image_folder(folder_root)
    shutil.rmtree(folder_root)
    write_image(folder_root / "loose.png")
    with pytest.raises(RequestError, match="holds no class folders"):
        image_folder(folder_root)


def test_split_folders_are_not_taken_for_classes(folder_root: Path) -> None:
    parent = folder_root.parent / "both"
    parent.mkdir()
    folder_root.rename(parent / "train")
    with pytest.raises(RequestError, match="are no classes") as caught:
        image_folder(parent)
    assert str(parent / "train") in str(caught.value)


@pytest.fixture
def tree(tmp_path: Path, write_image):
    """Writes images and empty files at the given paths below a folder."""

    def write(*paths: str) -> Path:
        for path in paths:
            target = tmp_path / "own" / path
            if target.suffix == ".png":
                write_image(target)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
        return tmp_path / "own"

    return write


def below(*folders: str) -> list[str]:
    """Two class folders in each of the folders."""
    return [f"{folder}/{name}/0.png" for folder in folders for name in ("cat", "dog")]


@pytest.mark.parametrize(
    ("paths", "meant"),
    [
        (below("PetImages"), "PetImages"),
        ([*below("PetImages"), *below("__MACOSX/PetImages")], "PetImages"),
        ([*below("images"), "annotations/cat_0.xml"], "images"),
        ([*below("images"), "annotations/trimaps/0.png"], "images"),
        ([*below("archive/data")], "archive/data"),
        ([*below("archive/train", "archive/val")], "archive/train"),
        ([*below("train2017", "val2017")], "train2017"),
        ([*below("Training", "TEST")], "TEST"),
        ([*below("training_set/training_set"), "seg_pred/0.png"], "training_set/training_set"),
        ([*below("dev", "eval"), "data/0.png"], "dev"),
    ],
)
def test_a_folder_too_high_is_refused_with_the_one_that_was_meant(tree, paths, meant) -> None:
    root = tree(*paths)
    with pytest.raises(RequestError) as caught:
        image_folder(root)
    assert f" {root / meant}," in str(caught.value)
    assert image_folder(root / meant).class_names == ("cat", "dog")


@pytest.mark.parametrize("paths", [["cat/0.png"], ["cat/more/0.png"], ["cat/0.png", ".git/1.png"]])
def test_one_class_alone_is_refused(tree, paths) -> None:
    with pytest.raises(RequestError, match=r"own holds one class alone \(cat\)"):
        image_folder(tree(*paths))


def test_a_folder_too_deep_is_refused_with_the_one_above(tree) -> None:
    root = tree("cat/0.png", "dog/0.png")
    with pytest.raises(RequestError, match=r"only images") as caught:
        image_folder(root / "cat")
    assert str(caught.value).endswith(str(root))


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        # Above the classes: a category, or a domain.
        (["animals/cat/0.png", "animals/dog/0.png", "vehicles/car/0.png"], "animals has cat, dog"),
        (below("photo", "sketch"), "photo has cat, dog"),
        ([*below("train"), "car/0.png", "plane/0.png"], "own/train are read as one class"),
    ],
)
def test_folders_that_hold_what_looks_like_classes_are_noted(tree, paths, expected) -> None:
    (note,) = image_folder(tree(*paths)).notes
    assert expected in note


@pytest.mark.parametrize(
    "paths",
    [
        ["cat/0.png", "dog/0.png", "cat/more/0.png", "README.txt", ".DS_Store", "Thumbs.db"],
        ["cat/images/0.png", "dog/images/0.png"],
        ["bow/v_bow_g01/0.png", "bow/v_bow_g02/0.png", "run/v_run_g01/0.png"],
        ["cat/2019/0.png", "cat/2020/0.png", "dog/2019/0.png"],
        ["cat/train/0.png", "cat/test/0.png", "dog/train/0.png", "dog/test/0.png"],
        ["train/0.png", "car/0.png", "plane/0.png"],
    ],
)
def test_ordinary_class_folders_are_read_without_a_word(tree, paths) -> None:
    found = image_folder(tree(*paths))
    assert found.notes == ()
    assert len(found) == sum(path.endswith(".png") for path in paths)


def test_files_left_out_are_counted_by_suffix(tree) -> None:
    root = tree(
        *(
            "cat/0.png",
            "cat/1.heic",
            "cat/2.HEIC",
            "cat/more/3.txt",
            "cat/Thumbs.db",
            "cat/._0.png",
        ),
        *("dog/0.png", "dog/x", "loose.png", "labels.txt"),
    )
    left_out, loose = image_folder(root).notes
    assert left_out == (
        "own: 4 files in class folders are not read as images (.heic 2, .txt 1, without suffix 1)"
    )
    assert loose.startswith("own: 1 images next to the class folders")


def test_where_all_are_of_another_format_they_are_named(tree) -> None:
    with pytest.raises(RequestError, match=r"no image in any class folder.*found \.heic 2"):
        image_folder(tree("cat/0.heic", "dog/0.heic"))


def test_a_class_folder_that_is_a_link_to_nothing_is_refused(tree) -> None:
    root = tree("cat/0.png", "dog/0.png")
    (root / "emu").symlink_to(root / "gone")
    with pytest.raises(RequestError, match=r"1 links in .* lead nowhere \(emu\)"):
        image_folder(root)


def test_names_equal_after_cleaning_want_a_names_file(folder_root: Path, write_image) -> None:
    write_image(folder_root / "Tabby-cat/d.png")
    with pytest.raises(RequestError, match=r"'Tabby-cat' and 'tabby_Cat'.*names=FILE"):
        image_folder(folder_root)
    names = folder_root.parent / "names.txt"
    names.write_text("a\nb\nc\n")
    assert image_folder(folder_root, names).class_names == ("a", "b", "c")


def test_a_folder_without_a_name_left_is_refused(folder_root: Path) -> None:
    (folder_root / "dog").rename(folder_root / "__")
    with pytest.raises(RequestError, match="'__'"):
        image_folder(folder_root)


def test_folders_that_are_numbers_want_a_names_file(tmp_path: Path, write_image) -> None:
    for label in range(12):
        write_image(tmp_path / f"set/{label}/a.png", seed=label)
    with pytest.raises(RequestError, match=r"are numbers .*names=FILE"):
        image_folder(tmp_path / "set")
    names = tmp_path / "names.txt"
    expected = ["zero", *"abcdefghijk"]
    names.write_text("\n".join(expected) + "\n")
    found = image_folder(tmp_path / "set", names)
    assert {
        sample_id: found.class_names[label]
        for sample_id, label in zip(found.sample_ids, found.labels, strict=True)
    } == {f"{label}/a.png": word for label, word in enumerate(expected)}
    assert found.notes == ()


def test_a_number_before_every_folder_is_said_in_the_notes(tmp_path: Path, write_image) -> None:
    for folder in ("001.Black_footed_Albatross", "002.Laysan_Albatross"):
        write_image(tmp_path / "birds" / folder / "a.png")
    (note,) = image_folder(tmp_path / "birds").notes
    assert "'001'" in note
    names = tmp_path / "names.txt"
    names.write_text("Black-footed albatross\nLaysan albatross\n")
    assert image_folder(tmp_path / "birds", names).notes == ()


def test_two_forms_of_one_accent_are_one_name(tmp_path: Path, write_image) -> None:
    for folder in ("caf\u00e9", "cafe\u0301"):
        write_image(tmp_path / "places" / folder / "a.png")
    with pytest.raises(RequestError, match="both give the class name"):
        image_folder(tmp_path / "places")


def test_real_photographs(shared_data) -> None:
    caltech = image_folder(shared_data("caltech101") / "101_ObjectCategories")
    assert (len(caltech), len(caltech.class_names)) == (404, 101)
    assert "accordion" in caltech.class_names
    assert "faces easy" in caltech.class_names
    stored = {caltech.read_image(index).mode for index in range(len(caltech))}
    assert stored == {"RGB", "L"}
    assert {caltech.read_rgb(index).mode for index in range(len(caltech))} == {"RGB"}


def test_real_cifar_folders(shared_data) -> None:
    cifar = image_folder(shared_data("cifar10") / "test")
    assert (cifar.name, len(cifar), len(cifar.class_names)) == ("cifar10-test", 1000, 10)


def test_a_class_of_photographs_that_are_not_read_is_told_so(tmp_path: Path, write_image) -> None:
    write_image(tmp_path / "dog" / "0.png")
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "IMG_1.HEIC").write_bytes(b"ftypheic")
    with pytest.raises(RequestError, match=r"\(cat\), but files that are not read \(\.heic 1\)"):
        image_folder(tmp_path)
