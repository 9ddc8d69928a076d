import shutil
from pathlib import Path

import pytest

from zsrobust.data.image_folder import image_folder
from zsrobust.errors import RequestError


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
    words = ["zero", *"abcdefghijk"]
    names.write_text("\n".join(words) + "\n")
    found = image_folder(tmp_path / "set", names)
    assert {
        sample_id: found.class_names[label]
        for sample_id, label in zip(found.sample_ids, found.labels, strict=True)
    } == {f"{label}/a.png": word for label, word in enumerate(words)}
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
