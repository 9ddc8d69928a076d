import copy

import pytest
import torch
from torch.nn.utils import parametrize

from zsrobust.models.adapters.lora import LoRA
from zsrobust.models.low_rank import merged
from zsrobust.training.encoder import relative_l2_distance


def pixels(side):
    return torch.randn(3, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=["vit", "resnet"])
def model(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def moved(model):
    """The model's encoder with LoRA of rank 3 and alpha 6 and random factors; the original."""
    original = copy.deepcopy(model.encoder)
    encoder = model.adapted_encoder(LoRA(rank=3, alpha=6.0), 0)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, part in encoder.named_parameters():
            if name.endswith(".up"):
                part.copy_(0.05 * torch.randn(part.shape, generator=random))
    return encoder, original


def test_it_starts_from_the_original(model):
    images = pixels(model.preprocessing.image_size)
    with torch.no_grad():
        before = model.encoder(images)
        assert torch.equal(model.adapted_encoder(LoRA(), 0)(images), before)


def test_merged_weights_are_w_plus_the_scaled_product(moved):
    encoder, original = moved
    parts = encoder.state_dict()
    before, after = original.state_dict(), merged(encoder)
    assert after.keys() == before.keys()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    factors = [name.removesuffix(".0.up") for name in parts if name.endswith(".0.up")]
    assert set(changed) == {name.replace("parametrizations.", "") for name in factors}
    for name in factors:
        weight = parts[f"{name}.original"].double()
        product = parts[f"{name}.0.up"].double() @ parts[f"{name}.0.down"].double()
        expected = weight + 6 / 3 * product.reshape(weight.shape)
        found = after[name.replace("parametrizations.", "")]
        torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=1e-6)
        assert torch.linalg.matrix_rank((expected - weight).flatten(1)) == 3


def test_merged_weights_make_the_same_embeddings(moved, model):
    encoder, original = moved
    images = pixels(model.preprocessing.image_size)
    with torch.no_grad():
        start = original(images)
        original.load_state_dict(merged(encoder))
        torch.testing.assert_close(original(images), encoder(images))
    assert not torch.allclose(start, original(images))


def test_merging_leaves_the_encoder_as_it_is(moved):
    encoder, _ = moved
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    merged(encoder)
    after = encoder.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_encoder_without_lora_is_its_state(model):
    state = model.encoder.state_dict()
    found = merged(model.encoder)
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_distance_is_that_of_the_weights_in_use(moved):
    encoder, original = moved
    after = merged(encoder)
    moved_by = size = 0.0
    for name, weight in original.named_parameters():
        moved_by += float((after[name].double() - weight.detach().double()).pow(2).sum())
        size += float(weight.detach().double().pow(2).sum())
    found = relative_l2_distance(encoder, original)
    assert found == pytest.approx((moved_by / size) ** 0.5, rel=1e-9)
    assert found > 1e-3


def test_first_values_are_bounded_and_a_function_of_the_seed(around, vit_tower):
    def downs(seed):
        tower = vit_tower()
        before = torch.random.get_rng_state()
        encoder = around(tower).adapted_encoder(LoRA(), seed)
        assert torch.equal(torch.random.get_rng_state(), before)
        return {name: part for name, part in encoder.named_parameters() if name.endswith("down")}

    first, again, other = downs(0), downs(0), downs(1)
    for name, values in first.items():
        bound = values.shape[1] ** -0.5
        assert 0.9 * bound < values.abs().max() <= bound
        assert torch.equal(values, again[name])
        assert not torch.equal(values, other[name])
    one, two = list(first.values())[:2]
    assert not torch.equal(one, two)


def test_the_change_is_added_in_fp32_under_autocast(moved):
    encoder, _ = moved
    module = next(part for part in encoder.modules() if parametrize.is_parametrized(part))
    (name,) = module.parametrizations.keys()
    exact = getattr(module, name)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(getattr(module, name), exact)
