import unicodedata
from collections import Counter

from zsrobust.data.glyphs import fonts
from zsrobust.data.glyphs.concepts import concepts, indices_of, training_indices
from zsrobust.data.glyphs.masks import bank


def test_names_are_unique_plain_words() -> None:
    names = [concept.name for concept in concepts()]
    assert not [name for name, count in Counter(names).items() if count > 1]
    assert all(name.isascii() and name == name.lower() and "  " not in name for name in names)


def test_a_character_shows_one_thing_only() -> None:
    shown = Counter(letter for concept in concepts() for letter in concept.characters)
    assert not [letter for letter, count in shown.items() if count > 1]


def test_everything_can_be_drawn_in_the_seen_fonts() -> None:
    assert bank(fonts.SEEN).counts().min() >= 1


def test_some_200_classes_are_the_fine_tuning_sets_alone() -> None:
    training = {concepts()[i].kind for i in training_indices()}
    assert 180 <= len(training_indices()) <= 220
    assert training.isdisjoint(concept.kind for concept in concepts() if not concept.training)


def test_names_say_what_unicode_says() -> None:
    # Every word of these kinds' names is Unicode's for the character.
    for kind, but in (("zodiac sign", "of zodiac sign"), ("roman numeral", "roman numeral")):
        for index in indices_of(kind):
            concept = concepts()[index]
            official = unicodedata.name(concept.characters).lower()
            own = set(concept.name.split()) - set(but.split())
            assert all(word[:6] in official for word in own), (concept, official)


def test_names_of_scripts_come_from_unicode() -> None:
    index = indices_of("hebrew letter")[0]
    assert concepts()[index].name == "hebrew letter alef"
    assert concepts()[index].characters == "\N{HEBREW LETTER ALEF}"


def test_seen_and_unseen_fonts_are_apart() -> None:
    assert set(fonts.SEEN).isdisjoint(fonts.UNSEEN)
    families = {name[:6] for name in fonts.SEEN}
    assert families == {"DejaVu"}
    assert not [name for name in fonts.UNSEEN if name.startswith("DejaVu")]
