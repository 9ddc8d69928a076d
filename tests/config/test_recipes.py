import pytest

from zsrobust.config.recipes import (
    MOST_BYTES,
    MOST_LEVELS,
    read_recipe,
    recipe_names,
    recipe_path,
)
from zsrobust.utils.errors import RequestError

BILLIONS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{letter}: &{letter} [{', '.join(9 * [f'*{before}'])}]\n"
    for before, letter in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: !!python/object/apply:os.mkdir [made]", "could not determine a constructor"),
        ("seed: !!python/name:os.mkdir", "could not determine a constructor"),
        (BILLIONS, r"the alias \*a: write its value out"),
        ("templates: &a [*a]", r"the alias \*a"),
        (f"templates: {'[' * 100_000}", f"nested deeper than {MOST_LEVELS} levels"),
        (f"out: {'x' * MOST_BYTES}", "bytes: a recipe has at most 131,072"),
        ("attack: {class_path: evil.Thing}", "the key class_path: a recipe names no class"),
        ("attack.class_path: evil.Thing", r"the key attack\.class_path"),
        ("objective: {terms: [{init_args: {}}]}", "the key init_args"),
        ("config: other.yaml", "the key config"),
        ("- a", "must hold keys and values"),
        ("a: [", "cannot be read as YAML"),
        ("a: 0x_", "cannot be read as YAML"),
        ("a: 2020-99-99", "cannot be read as YAML"),
        ("a: \0", "cannot be read as YAML"),
        ("? [a]\n: 1", "cannot be read as YAML"),
    ],
)
def test_what_is_more_than_data_is_refused(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match=f"^--config .*{message}") as refused:
        read_recipe(path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("content", [b"\xff", None])
def test_what_is_no_text_is_refused(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RequestError, match="cannot be read as YAML"):
        read_recipe(path)


@pytest.mark.parametrize("command", ["finetune", "evaluate"])
def test_every_packaged_recipe_is_plain(command):
    for name in recipe_names(command):
        assert read_recipe(recipe_path(name, command))
