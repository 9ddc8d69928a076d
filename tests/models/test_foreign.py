import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from zsrobust.models.foreign import load_foreign
from zsrobust.models.loading import load
from zsrobust.models.names import is_foreign
from zsrobust.models.weights import save_model
from zsrobust.utils.errors import RequestError

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
NAMES = ("bird", "cat", "house")


def prefixed(prefix, tensors):
    return {prefix + key: value for key, value in tensors.items()}


def tecoa(visual, **more):
    return {
        "epoch": 3,
        "state_dict": {},
        "add_prompter": {"prompt": torch.zeros(1, 0, 768)},
        "vision_encoder_state_dict": visual,
        "best_acc1": np.mean([31.5, 32.5]),
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(2)}}, "param_groups": []},
        **more,
    }


FORMS = {
    "TeCoA": tecoa,
    "TeCoA in parallel": lambda v: tecoa(prefixed("module.", v)),
    "FARE": lambda v: v,
    "FARE in parallel": lambda v: prefixed("module.", v),
    "compiled": lambda v: prefixed("_orig_mod.module.", v),
    "model_state_dict": lambda v: {"model_state_dict": prefixed("module.visual.", v)},
    "state_dict": lambda v: {"state_dict": prefixed("visual.", v), "epoch": 1},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("zipped", [True, False])
def test_every_form_gives_the_image_encoder_of_the_file(tiny, whole, visual, saved, form, zipped):
    name = saved(FORMS[form](visual), _use_new_zipfile_serialization=zipped)
    model = load_foreign(name, load)
    pixels = model.preprocessing(IMAGES)
    assert torch.equal(model.encoder.eval()(pixels), whole.visual(pixels))
    base = load(tiny)
    assert not torch.allclose(base.encoder(pixels), whole.visual(pixels))
    assert model.text.fingerprint == base.text.fingerprint
    assert model.logit_scale == base.logit_scale
    assert (model.name, model.source, model.method) == (name, tiny, "checkpoint tuned")


@pytest.mark.parametrize(
    ("form", "named", "asked", "protocol"),
    [
        (tecoa, None, None, "tecoa_code"),
        (tecoa, None, "authors_code", "authors_code"),
        (tecoa, "clip", None, "clip"),
        (tecoa, "clip", "authors_code", "authors_code"),
        (FORMS["FARE"], None, None, "clip"),
        (FORMS["FARE"], None, "tecoa_code", "tecoa_code"),
    ],
)
def test_images_are_prepared_as_in_the_project_of_the_file(
    visual, saved, capsys, form, named, asked, protocol
):
    content = form(visual) | ({} if named is None else {"preprocessing": named})
    model = load(saved(content), preprocessing=asked)
    assert model.preprocessing.protocol == protocol
    assumed = form is tecoa and named is None and asked is None
    assert ("give preprocessing authors_code" in capsys.readouterr().err) == assumed


def test_a_folder_with_an_at_sign_is_no_checkpoint(tmp_path):
    (tmp_path / "a@b").mkdir()
    assert not is_foreign(str(tmp_path / "a@b"))
    assert not is_foreign(f"local-dir:{tmp_path / 'a@b'}")
    assert not is_foreign("ViT-B-32/openai")
    assert is_foreign("ViT-B-32/openai@missing.pt")


def test_safetensors_are_read(whole, visual, tmp_path):
    save_file(visual, tmp_path / "fare_eps_0.5.safetensors")
    model = load_foreign(f"tiny-vit/random@{tmp_path / 'fare_eps_0.5.safetensors'}", load)
    assert torch.equal(model.encoder.proj, whole.visual.proj)
    assert model.method == "checkpoint fare_eps_0.5"


def test_half_precision_is_read_into_full(visual, saved):
    halves = {key: value.half() for key, value in visual.items()}
    proj = load_foreign(saved(halves), load).encoder.proj
    assert proj.dtype == torch.float32
    assert torch.equal(proj, halves["proj"].float())


@pytest.mark.parametrize("prefix", ["model.", "clip.", "module.model."])
def test_a_checkpoint_of_lightning_is_read(tiny, whole, saved, prefix):
    tensors = prefixed(prefix, whole.state_dict())
    model = load_foreign(saved({"state_dict": tensors, "hyper_parameters": {"lr": 0.1}}), load)
    assert (model.source, model.method) == (tiny, "checkpoint tuned")
    assert torch.equal(model.encoder.proj, whole.visual.proj)


def test_two_models_in_one_checkpoint_are_not_mixed(tiny, whole, saved):
    both = prefixed("clip.", whole.state_dict()) | prefixed("model.", whole.state_dict())
    with pytest.raises(RequestError, match="of more than one model"):
        load_foreign(saved({"state_dict": both}), load)


def test_further_scalars_in_a_checkpoint_are_ignored(tiny, whole, saved):
    numbers = {"input_resolution": 32, "context_length": 16, "vocab_size": 49408, "n_averaged": 3}
    tensors = {**whole.state_dict(), **{key: torch.tensor(n) for key, n in numbers.items()}}
    model = load_foreign(saved(tensors), load)
    assert (model.source, model.method) == (tiny, "checkpoint tuned")


class Wrapper(nn.Module):
    def __init__(self, visual):
        super().__init__()
        self.visual = visual

    def forward(self, images):
        return self.visual(images)


@pytest.fixture
def archive(whole, tmp_path):
    """Saves a part of ``whole``, or all, as a TorchScript archive; its path."""

    def write(part, file="ViT-B-32.pt"):
        if part == "whole":
            made = torch.jit.script(whole)
        else:
            module = Wrapper(whole.visual) if part == "inside" else whole.visual
            made = torch.jit.trace(module, IMAGES, check_trace=False)
        made.save(tmp_path / file)
        return tmp_path / file

    return write


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("part", ["whole", "inside", "alone"])
@pytest.mark.parametrize("half", [False, True])
def test_a_torchscript_archive_is_read(tiny, whole, archive, recwarn, part, half):
    if half:
        whole.load_state_dict({k: v.half() for k, v in whole.state_dict().items()})
    path = archive(part)
    recwarn.clear()
    model = load_foreign(f"tiny-vit/random@{path}", load)
    assert not list(recwarn)
    assert (model.source, model.method) == (tiny, "checkpoint ViT-B-32")
    pixels = model.preprocessing(IMAGES)
    assert torch.equal(model.encoder.eval()(pixels), whole.visual(pixels))


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
def test_code_in_a_torchscript_archive_is_refused_and_never_run(tiny, archive, tmp_path):
    made, path, changed = tmp_path / "made", archive("alone"), tmp_path / "changed.pt"
    content = pickle.dumps(Malicious(made), protocol=2)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            inner = name.partition("/")[2]
            new.writestr(name, content if inner == "data.pkl" else old.read(name))
    with pytest.raises(RequestError, match="holds Python objects besides tensors"):
        load_foreign(f"{tiny}@{changed}", load)
    assert not made.exists()
    pickle.loads(content)
    assert made.exists(), "the archive does hold code"


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_and_never_run(visual, saved, tmp_path, zipped):
    made = tmp_path / "made"
    content = tecoa(visual, args=Malicious(made))
    name = saved(content, _use_new_zipfile_serialization=zipped)
    with pytest.raises(RequestError, match="holds Python objects besides tensors") as error:
        load_foreign(name, load)
    assert "\n" not in str(error.value)
    assert not made.exists()
    torch.load(name.partition("@")[2], weights_only=False)
    assert made.exists(), "the file does hold code"


def test_missing_unexpected_and_misshapen_tensors_are_named(visual, saved):
    fewer = {key: value for key, value in visual.items() if "resblocks.1" not in key}
    with pytest.raises(RequestError, match=r"it lacks transformer\.resblocks\.1.* and 9 more"):
        load_foreign(saved(fewer), load)
    with pytest.raises(RequestError, match=r"it also has extra$"):
        load_foreign(saved({**visual, "extra": torch.zeros(1)}), load)
    other = {**visual, "proj": torch.zeros(32, 8)}
    with pytest.raises(
        RequestError, match=r"of another shape are proj \(32, 8\) instead of \(32, 24\)"
    ):
        load_foreign(saved(other), load)


def test_names_with_an_unknown_prefix_are_shown(visual, saved):
    with pytest.raises(RequestError, match=r"it lacks .*; it also has net\."):
        load_foreign(saved(prefixed("net.", visual)), load)


def test_integers_for_weights_are_refused(visual, whole, saved):
    quantised = {key: (10 * value).to(torch.int8) for key, value in visual.items()}
    with pytest.raises(RequestError, match="of integers"):
        load_foreign(saved(quantised), load)
    tensors = {**whole.state_dict(), "logit_scale": torch.tensor(46)}
    with pytest.raises(RequestError, match=r"text side.*of integers.*logit_scale"):
        load_foreign(saved({"state_dict": tensors}), load)


def test_a_visual_prompt_is_not_left_out_in_silence(visual, saved):
    for more in (
        {"state_dict": {"module.pad_up": torch.zeros(1, 3, 30, 32)}},
        {"add_prompter": {"prompt": torch.zeros(1, 5, 768)}},
    ):
        with pytest.raises(RequestError, match="holds a visual prompt"):
            load_foreign(saved(tecoa(visual, **more)), load)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.zeros(2), "holds a Tensor, no dictionary"),
        ({"epoch": 1, "loss": 0.5}, "no tensors where they are looked for.*it has epoch, loss"),
        ({}, "no tensors where they are looked for"),
    ],
)
def test_files_without_weights_are_refused(tiny, saved, content, message):
    with pytest.raises(RequestError, match=message):
        load_foreign(saved(content), load)


def test_damaged_and_missing_files_are_refused(tiny, visual, saved, tmp_path):
    path = tmp_path / "tuned.pth.tar"
    name = saved(visual)
    for content in (path.read_bytes()[:-500], b"no checkpoint", b""):
        path.write_bytes(content)
        with pytest.raises(RequestError, match=r"tuned\.pth\.tar (cannot be read|is damaged)"):
            load_foreign(name, load)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "hello")
    with pytest.raises(RequestError, match=r"tuned\.pth\.tar cannot be read"):
        load_foreign(name, load)
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no tensors")
    with pytest.raises(RequestError, match=r"bad\.safetensors cannot be read"):
        load_foreign(f"tiny-vit/random@{bad}", load)


def written(content):
    return lambda path, _: path.write_bytes(content)


OTHERS = {
    "a folder": (lambda path, _: path.mkdir(), "is a folder"),
    "no file": (lambda path, _: None, "there is no checkpoint"),
    "empty": (written(b""), "is empty"),
    "a pointer of Git LFS": (written(b"version https://git-lfs.github.com/spec/v1"), "lfs pull"),
    "a page": (written(b"<html>404</html>"), "is damaged or holds Python objects"),
    "an archive of NumPy": (
        lambda path, whole: np.savez(path.open("wb"), proj=whole.visual.proj.detach().numpy()),
        "cannot be read as a checkpoint",
    ),
    "a pickled model": (lambda path, whole: torch.save(whole, path), "holds Python objects"),
    "LoRA factors": (
        lambda path, _: torch.save({"base_model.model.proj.lora_A.weight": torch.zeros(2)}, path),
        "holds LoRA factors",
    ),
    "transformers": (
        lambda path, _: torch.save({"vision_model.post_layernorm.bias": torch.zeros(2)}, path),
        "is a checkpoint of transformers",
    ),
    "a frozen archive": (
        lambda path, whole: torch.jit.freeze(
            torch.jit.trace(Wrapper(whole.visual), IMAGES, check_trace=False).eval()
        ).save(path),
        "holds no tensors where they are looked for",
    ),
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_checkpoint_is_refused_in_a_sentence(tiny, whole, tmp_path, kind):
    write, message = OTHERS[kind]
    path = tmp_path / "tuned.pt"
    write(path, whole)
    with pytest.raises(RequestError, match=message) as error:
        load_foreign(f"{tiny}@{path}", load)
    said = str(error.value)
    assert str(path) in said
    assert "\n" not in said
    assert not any(word in said for word in ("weights_only", "PytorchStream", "hasRecord"))


def test_fine_tuned_further_it_comes_back(tiny, visual, saved, tmp_path):
    model = load_foreign(saved(visual), load)
    save_model(tmp_path / "further", model, "pmg_aft")
    again = load(str(tmp_path / "further"))
    assert torch.equal(again.encoder.proj, visual["proj"])
    assert again.source == tiny


def test_an_encoder_whose_base_has_another_text_side_takes_no_text(whole, saved):
    base = load("tiny-vit/random")
    base.text = object()
    with pytest.raises(RequestError, match=r"holds a text side.*has no place for"):
        load_foreign(saved({"state_dict": whole.state_dict()}), lambda name: base)
