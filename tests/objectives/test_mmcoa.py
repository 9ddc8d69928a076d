"""MMCoA's loss in NumPy float64, and its replaced words against all that there are."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zsrobust.models.loading import load
from zsrobust.models.trained_text import TrainedText
from zsrobust.objectives import MMCoA
from zsrobust.objectives.mmcoa import replace_a_word
from zsrobust.utils.errors import RequestError

GLOBAL = 10


class TableText(nn.Module):
    """A text tower that adds the rows of a table, one a place and token; for 5 classes."""

    mask = 7

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.table = nn.Parameter(torch.randn(3, 9, 6, generator=generator))
        self.prompts = torch.tensor([[[8, first, 6]] for first in range(5)])
        self.replaceable = torch.arange(9) < 6

    def forward(self, tokens):
        rows = self.table[torch.arange(3), tokens].sum(-2)
        return F.normalize(rows, dim=-1)

    def neighbours(self, tokens, count):
        """The next ones, whatever they are like."""
        return (tokens[:, None] + 1 + torch.arange(count)) % 6


def unit(values):
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def log_softmax(values, axis):
    return values - np.log(np.exp(values).sum(axis, keepdims=True))


def contrast(images, texts, scale=7.0):
    """CLIP's loss, one value a pair."""
    logits = scale * unit(images) @ unit(texts).T
    return -(np.diag(log_softmax(logits, 1)) + np.diag(log_softmax(logits, 0))) / 2


def embedded(table, tokens):
    return unit(np.stack([table[place, token] for place, token in enumerate(tokens)]).sum(0))


def divergence(one, other):
    p, q = log_softmax(one, 0), log_softmax(other, 0)
    return float((np.exp(p) * (p - q)).sum())


def replaced(table, first, count):
    """The only place that may change is the middle one; of the next tokens the furthest."""
    whole = embedded(table, [8, first, 6])
    others = [(first + 1 + step) % 6 for step in range(count)]
    return max(others, key=lambda other: divergence(whole, embedded(table, [8, other, 6])))


def test_loss_and_gradients(case, computed, differences):
    model, views, labels = case
    text = TableText()
    table = text.table.detach().double().numpy()
    others = [replaced(table, label, 3) for label in labels]

    def loss(at):
        clean = np.stack([embedded(at["table"], [8, label, 6]) for label in labels])
        changed = np.stack([embedded(at["table"], [8, other, 6]) for other in others])
        robust = contrast(at["student_adversarial"], clean).sum()
        return (0.5 * robust + 2.0 * contrast(at["student_clean"], changed).sum()) / GLOBAL

    objective = MMCoA(alpha=0.5, beta=2.0, candidates=3)
    parts, gradients = computed(objective, model, views, labels, head=text)
    everything = {**views, "table": table}
    assert parts["total"] == pytest.approx(loss(everything), rel=1e-5)
    assert parts["total"] == pytest.approx(0.5 * parts["robust"] + 2.0 * parts["robust_text"])
    assert gradients.keys() == {"student_adversarial", "student_clean"}
    for name, gradient in {**gradients, "table": text.table.grad}.items():
        expected = differences(loss, everything, name)
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=2e-3, atol=5e-5, err_msg=name)


@pytest.fixture(scope="module")
def text():
    names = ["red circle", "chess queen", "letter a", "of the"]
    return TrainedText(load("glyph-clip"), names, ["a picture of a {}"])


def test_the_replaced_word_is_the_best_of_all_single_ones(text):
    tokens = text.prompts[:, 0]
    found = replace_a_word(text, tokens, 10)
    assert torch.equal(found[3, 5:], tokens[3, 5:]), "function words stay"
    for row in range(3):
        places = (found[row] != tokens[row]).nonzero().flatten().tolist()
        assert len(places) == 1
        whole = text(tokens[row : row + 1])[0].detach().double().numpy()

        def moved(place, token, row=row, whole=whole):
            changed = tokens[row : row + 1].clone()
            changed[0, place] = token
            return divergence(whole, text(changed)[0].detach().double().numpy())

        free = [p for p, token in enumerate(tokens[row]) if text.replaceable[token]]
        assert places[0] == max(free, key=lambda place: moved(place, text.mask))
        near = text.neighbours(tokens[row, places], 10)[0].tolist()
        assert int(found[row, places[0]]) == max(near, key=lambda token: moved(places[0], token))


def test_neighbours_are_near_and_other_words(text):
    tokens = text.prompts[0, 0, 2:3]
    near = text.neighbours(tokens, 10)[0]
    rows = F.normalize(text.tower.token_embedding.weight, dim=-1)
    cosines = rows @ rows[tokens[0]]
    allowed = text.replaceable.clone()
    allowed[tokens] = False
    assert allowed[near].all()
    assert len(near.unique()) == 10
    rest = allowed.clone()
    rest[near] = False
    assert cosines[near].min() >= cosines[rest].max()


def test_class_vectors_are_those_of_the_untrained_side(text):
    side = load("glyph-clip").text
    names = ["red circle", "chess queen", "letter a", "of the"]
    torch.testing.assert_close(text.class_vectors(), side.encode(names, ["a picture of a {}"]))
    assert text.as_side().fingerprint == side.fingerprint


def test_no_candidates_are_refused():
    with pytest.raises(RequestError, match=r"objective.candidates is 0: must be 1 or more"):
        MMCoA(candidates=0)
