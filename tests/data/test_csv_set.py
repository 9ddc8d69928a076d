import os
import unicodedata
from pathlib import Path

import pytest

from zsrobust.data.registry import open_set
from zsrobust.data.verify import verify
from zsrobust.utils.errors import RequestError


@pytest.fixture
def listing(tmp_path: Path, write_image):
    """Writes images a.png, b/b.png and c.jpg, and a CSV file beside them."""
    for i, name in enumerate(("a.png", "b/b.png", "c.jpg")):
        write_image(tmp_path / "birds" / name, seed=i)

    def write(text: str | bytes) -> Path:
        path = tmp_path / "birds" / "birds.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


@pytest.fixture
def names(tmp_path: Path):
    def write(text: str) -> Path:
        path = tmp_path / "names.txt"
        path.write_text(text)
        return path

    return write


def test_words_are_classes_in_sorted_order(listing) -> None:
    path = listing("path,label\na.png,Wood_Duck\nb/b.png,owl\nc.jpg,Wood_Duck\n")
    found = open_set(f"csv:{path}", "test")
    assert (found.name, found.split) == ("birds", "all")
    assert found.class_names == ("wood duck", "owl"), "capitals sort first"
    assert list(found.labels) == [0, 1, 0]
    assert list(found.sample_ids) == ["a.png", "b/b.png", "c.jpg"]
    assert found.read_rgb(1).size == (12, 10)
    assert verify(found, "stop")[0].stamp


def test_a_byte_order_mark_other_columns_quotes_and_windows_lines(listing) -> None:
    text = 'size,label,path\r\n1,"great, tit",a.png\r\n\r\n2,owl,"b/b.png"\r\n'
    path = listing(b"\xef\xbb\xbf" + text.encode())
    found = open_set(f"csv:{path}", "train")
    assert found.class_names == ("great, tit", "owl")
    assert list(found.sample_ids) == ["a.png", "b/b.png"]


TABLE = "path,label\na.png,owl\nb/b.png,tit\n"


@pytest.mark.parametrize(
    "text",
    [
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", "|"),
        TABLE.replace(",", " , "),
        TABLE.replace("/", "\\"),
        TABLE.replace("b/b.png", ".\\b\\b.png"),
        TABLE.replace("path,label", "Path,LABEL"),
        "Path,label,PATH,path\nx,owl,y,a.png\nx,tit,y,b/b.png\n",
        '"path","label"\n"a.png","owl"\n"b/b.png", "tit"\n',
        "sep=;\r\n" + TABLE.replace(",", ";").replace("\n", "\r\n"),
        "sep=;\n" + TABLE.replace(",", ";").replace("owl", "owl;;").replace("label", "label;;"),
        TABLE.replace("owl\n", "owl,,\n") + ",,\n,\n",
        "path,label,note\na.png,owl\nb/b.png,tit,seen\n",
        ",path,label\n0,a.png,owl\n1,b/b.png,tit\n",
        TABLE.replace("\n", "\r"),
        ("\ufeff" + TABLE.replace(",", "\t")).encode("utf-16-le"),
        ("\ufeff" + TABLE).encode("utf-16-be"),
    ],
)
def test_what_spreadsheets_write_is_read(listing, text: str | bytes) -> None:
    found = open_set(f"csv:{listing(text)}", "test")
    assert list(found.sample_ids) == ["a.png", "b/b.png"]
    assert found.class_names == ("owl", "tit")
    assert list(found.labels) == [0, 1]
    assert found.read_rgb(1).size == (12, 10)


def test_a_comma_needs_no_quotes_where_semicolons_separate(listing) -> None:
    path = listing("path;label\na.png;great, tit\nc.jpg;owl\n")
    found = open_set(f"csv:{path}", "test")
    assert found.class_names == ("great, tit", "owl")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_a_backslash_in_a_files_name_stays(listing, write_image) -> None:
    path = listing("path,label\nb\\b.png,owl\nb/b.png,tit\n")
    write_image(path.parent / "b\\b.png")
    assert list(open_set(f"csv:{path}", "test").sample_ids) == ["b\\b.png", "b/b.png"]


@pytest.mark.parametrize("number", ["{}.0", "{},0", "0{}.00", "+{}"])
def test_whole_numbers_are_read_however_a_table_writes_them(listing, names, number) -> None:
    rows = [f"{file};{number.format(label)}" for file, label in (("a.png", 1), ("c.jpg", 0))]
    path, file = listing("path;label\n" + "\n".join(rows) + "\n"), names("Owl\nTit\n")
    found = open_set(f"csv:{path},names={file}", "test")
    assert list(found.labels) == [1, 0]


def test_numbers_take_their_names_from_a_file(listing, names) -> None:
    path = listing("path,label\na.png,2\nb/b.png,0\nc.jpg,02\n")
    file = names("Owl\nTit\nDuck\n")
    found = open_set(f"csv:{path},names={file}", "test")
    assert found.class_names == ("Owl", "Tit", "Duck"), "a class without an image counts"
    assert list(found.labels) == [2, 0, 2]


def test_words_may_be_renamed_by_a_file(listing, names) -> None:
    path = listing("path,label\na.png,n02\nb/b.png,n01\n")
    file = names("n01\tBarn Owl\nn02\tTit\n")
    found = open_set(f"csv:{path},names={file}", "test")
    assert (found.class_names, list(found.labels)) == (("Barn Owl", "Tit"), [1, 0])
    path, file = listing("path,label\na.png,Tit\n"), names("Owl\nTit\n")
    named = open_set(f"csv:{path},names={file}", "test")
    assert list(named.labels) == [1]


def test_codes_and_labels_counted_from_1_are_told(listing, names) -> None:
    path = listing("path,label\na.png,n02124075\nb/b.png,n01443537\n")
    with pytest.raises(RequestError, match="are WordNet ids"):
        open_set(f"csv:{path}", "test")
    path = listing("path,label\na.png,c0\nb/b.png,c1\n")
    assert len(open_set(f"csv:{path}", "test").notes) == 1
    path, three = listing("path,label\na.png,1\nb/b.png,2\n"), "Owl\nTit\nDuck\n"
    (note,) = open_set(f"csv:{path},names={names(three)}", "test").notes
    assert "no image" in note
    assert "'Owl'" in note
    for text in ("1\tOwl\n2\tTit\n0\tDuck\n", "1\tOwl\n2\tTit\n"):
        assert open_set(f"csv:{path},names={names(text)}", "test").notes == ()
    path = listing("path,label\na.png,0\nb/b.png,2\n")
    assert open_set(f"csv:{path},names={names(three)}", "test").notes == ()


def test_two_forms_of_one_accent_are_one_label(listing) -> None:
    path = listing("path,label\na.png,caf\u00e9\nb/b.png,cafe\u0301\n")
    with pytest.raises(RequestError, match="both give the class name"):
        open_set(f"csv:{path}", "test")


def test_words_that_look_like_numbers_are_taken_as_written(listing, names) -> None:
    path = listing("path,label\na.png,007\nb/b.png,7\nc.jpg,bond\n")
    found = open_set(f"csv:{path}", "test")
    assert found.class_names == ("007", "7", "bond")
    assert list(found.labels) == [0, 1, 2]
    path = listing("path,label\na.png,bond\nb/b.png,007\n")
    assert list(open_set(f"csv:{path}", "test").labels) == [1, 0]
    file = names("007\nbond\n")
    assert list(open_set(f"csv:{path},names={file}", "test").labels) == [1, 0]


@pytest.mark.parametrize("words", [("1_000", "2_000"), ("0.5", "half"), ("true", "unknown")])
def test_words_that_are_not_all_numbers_or_truths_are_classes(listing, words) -> None:
    path = listing(f"path,label\na.png,{words[0]}\nb/b.png,{words[1]}\n")
    assert list(open_set(f"csv:{path}", "test").labels) == [0, 1]


@pytest.mark.parametrize("text", ["1\n0\n", "owl\n0\n", "1\n2\n3\n", "0\n02\nowl\n"])
def test_names_that_are_numbers_of_other_labels_are_refused(listing, names, text: str) -> None:
    path = listing("path,label\na.png,0\n")
    with pytest.raises(RequestError, match="is the number of another label: write label, tab"):
        open_set(f"csv:{path},names={names(text)}", "test")


@pytest.mark.parametrize("text", ["0\n1\n2\n", "owl\n1\n", "90\n1\n"])
def test_names_that_are_their_own_number_or_no_label_stand(listing, names, text: str) -> None:
    path = listing("path,label\na.png,0\nb/b.png,1\n")
    found = open_set(f"csv:{path},names={names(text)}", "test")
    assert list(found.labels) == [0, 1]
    assert found.class_names == tuple(text.split())


def test_the_role_picks_the_split_and_classes_are_the_whole_files(listing) -> None:
    path = listing("path,label,split\na.png,tit,train\nb/b.png,owl,val\nc.jpg,tit,train\n")
    train, test = open_set(f"csv:{path}", "train"), open_set(f"csv:{path}", "test")
    assert (train.split, list(train.sample_ids)) == ("train", ["a.png", "c.jpg"])
    assert (test.split, list(test.sample_ids)) == ("val", ["b/b.png"])
    assert train.class_names == test.class_names == ("owl", "tit")
    assert len(open_set(f"csv:{path},split=all", "train")) == 3


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_path_of_any_letters_opens(tmp_path: Path, write_image, form: str) -> None:
    name = unicodedata.normalize(form, "Zürich 東京 🐦.png")
    write_image(tmp_path / name)
    write_image(tmp_path / "b.png")
    (tmp_path / "réf.csv").write_text(f"path,label\n{name},é\nb.png,e\n", "utf-8")
    found = open_set(f"csv:{tmp_path / 'réf.csv'}", "test")
    assert found.read_rgb(0).size == (12, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must be a header"),
        ("a.png,owl\n", "line 1 must be a header"),
        ("path,label,path\n", "line 1 must be a header"),
        ("path,label\n", "lists no images"),
        ("path,label\na.png,owl\nb/b.png\n", "line 3 has 1 fields and the header 2"),
        ("path,label\na.png,owl,x\n", "line 2 has 3 fields and the header 2"),
        ("path,label\na.png, \n", "line 2 lacks its path or label"),
        ("path,label\na.png,owl\na.png,tit\n", "line 3 lists a.png again, after line 2"),
        ("path,label\na.png,owl\n./a.png,tit\n", r"line 3 lists \./a\.png again, after line 2"),
        ("path,label\nb/b.png,owl\nb//x/../b.png,tit\n", "line 3 lists .* again, after line 2"),
        (f"path,label\na.png,owl\n{'z' * 300}.png,tit\n", "line 3 names .*, which is not there"),
        ("path,label\na.png,owl\nz.png,tit\n", r"line 3 names .*z\.png, which is not there"),
        ("path,label\nz.png,owl\ny.png,tit\n", "and so do 1 more lines: paths are relative"),
        ("path,label\na.png,1\n", "labels of .* are numbers: give their names with names=FILE"),
        ("path,label\na.png,0.0\nb/b.png,1.0\n", "numbers such as '0.0': write whole numbers"),
        ("path,label\na.png,1e0\nb/b.png,nan\nc.jpg,2\n", "labels of .* are numbers such as"),
        ("path,label\na.png,True\nb/b.png,false\n", "are true and false, which name no class"),
        ("path,label\na.png,a_b\nb/b.png,a b\n", "both give the class name 'a b'"),
        ("path,label\na.png,__\n", "'__' of .* gives no class name"),
        ('path,label\n"a.png,owl\n', "is no CSV"),
        (b"path,label\na.png,\xe9\n", "is not UTF-8"),
        ("path,label,split\na.png,owl,train\nc.jpg,owl,\n", "line 3 has no split"),
        ("path,label,split\na.png,owl,one\n", "has no split called test, but one"),
        ("image,class\na.png,owl\n", "with the columns path and label.* is 'image', 'class'"),
        ("filename;label\na.png;owl\n", "is 'filename', 'label'"),
        ("Path,PATH,label\n", "is 'Path', 'PATH', 'label'"),
        ('"path,label"\n"a.png,owl"\n', "is 'path,label', one field in quotes"),
        ("path;label\na.png,owl\n", "line 2 has 1 fields .* hold semicolons in quotes"),
        ("sep=;\npath;label\nz.png;owl\n", "line 3 names"),
        ("path,label,split\na.png,owl\n", "line 2 has 2 fields and the header 3"),
        ("path,label\na.png,0,5\nb/b.png,1,5\n", "line 2 has 3 fields"),
        ("path;label\na.png;0,0\nb/b.png;1,0\n", "numbers such as '0,0'"),
        ("path,label\na.png,owl\nb/b.png,NaN\n", "line 3 has the label 'NaN', which is a missing"),
        ("path,label\na.png,owl\nb/b.png,#N/A\n", "line 3 has the label '#N/A'"),
        ("path,label\na.png,owl\nb/b.png,owl\n", r"has one class alone \(owl\)"),
        ("path,label\nhttps://host/a.png,owl\n", "an address is no path"),
        ("path,label\nC:\\birds\\a.png,owl\n", "without a drive"),
        ("path,label\nb\\B.PNG,owl\n", r"and 'b\.png' is there"),
        ("path,label\nb/b,owl\n", r"and 'b\.png' is there"),
        ("path,label\na.png,owl\n.\\a.png,tit\n", "line 3 lists a.png again, after line 2"),
        (b"PK\x03\x04\x14", "is no CSV file but an Excel workbook"),
        (TABLE.encode("utf-16-le"), "not UTF-8 but perhaps UTF-16"),
        (b"\xff\xfea", "is not UTF-8"),
    ],
)
def test_wrong_files_are_refused_with_the_line(listing, text: str | bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message) as caught:
        open_set(f"csv:{listing(text)}", "test")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("label", "file", "message"),
    [
        ("3", "Owl\nTit\nDuck\n", r"line 2 has the label '3': .*3 classes, labels 0 to 2"),
        ("-1", "Owl\nTit\n", r"line 2 has the label '-1'"),
        ("hen", "Owl\nTit\n", "line 2 has the label 'hen'"),
        ("hen", "owl\tOwl\n", "line 2 has the label 'hen': .*does not name it"),
        ("1", "1\tOwl\n01\tTit\n", "line 2 names the label '1' again"),
        ("1", "", "holds no class names"),
    ],
)
def test_a_label_that_means_nothing_is_told(listing, names, label, file, message) -> None:
    path = listing(f"path,label\na.png,{label}\n")
    with pytest.raises(RequestError, match=message):
        open_set(f"csv:{path},names={names(file)}", "test")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("csv", "lacks its path: write csv:PATH"),
        ("csv:/absent.csv", r"names no file or folder \(/absent\.csv\)"),
        ("csv:/", r"cannot read / \(Is a directory\)"),
        ("csv:/absent.csv,image=x", "gives image, which is for huggingface and webdataset"),
        ("csv:/absent.csv,prompts=clip", "csv is no published set"),
    ],
)
def test_wrong_requests_are_refused(spec: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        open_set(spec, "test")


def test_a_file_without_splits_has_none_to_ask_for(listing) -> None:
    path = listing("path,label\na.png,owl\n")
    with pytest.raises(RequestError, match="no split 'test': it has all"):
        open_set(f"csv:{path},split=test", "test")


@pytest.mark.parametrize(
    ("labels", "text", "first"),
    [
        ("01", "name\nant\nbee\n", "name"),
        ("01", "__background__\nant\nbee\n", "__background__"),
        ("01", "label\tname\n0\tant\n1\tbee\n", "name"),
        ("02", "class\nant\nbee\n", ""),
        ("01", "cow\nant\nbee\n", ""),
        ("01", "other\tcow\n0\tant\nx\tbee\n1\tox\n", ""),
    ],
)
def test_a_header_above_names_is_noticed(listing, names, labels, text, first) -> None:
    path = listing(f"path,label\na.png,{labels[0]}\nb/b.png,{labels[1]}\n")
    notes = open_set(f"csv:{path},names={names(text)}", "test").notes
    assert len(notes) == bool(first)
    assert all(f"taken as the class {first!r}" in note for note in notes)


def test_numbers_as_names_of_words_are_noticed(listing, names) -> None:
    path = listing("path,label\na.png,ant\nb/b.png,bee\n")
    numbers = names("ant\t0\nbee\t1\n")
    (note,) = open_set(f"csv:{path},names={numbers}", "test").notes
    assert "'ant' the name '0'" in note


def test_a_folder_in_the_place_of_an_image_is_told_so(listing) -> None:
    path = listing("path,label\na.png,ant\nb,bee\n")
    with pytest.raises(RequestError, match=r"line 3 .* that is a folder: list the images in it"):
        open_set(f"csv:{path}", "test")
