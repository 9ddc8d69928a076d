"""A checkpoint is whole or it is told which file is not, and the last whole one is used."""

import errno
import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from zsrobust.training.checkpoint import (
    checkpoints,
    gather,
    load_checkpoint,
    load_newest,
    save_checkpoint,
)
from zsrobust.utils import files
from zsrobust.utils.errors import Diverged, NotWritten, RequestError, RunError

FILES = ("weights.safetensors", "optimizer.safetensors", "state.json")


@pytest.fixture
def trained():
    """A small network after two steps of AdamW, and its optimizer."""

    def make():
        torch.manual_seed(0)
        network = nn.Linear(3, 2)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
        for _ in range(2):
            network(torch.ones(4, 3)).square().mean().backward()
            optimizer.step()
        return network, optimizer

    return make


@pytest.fixture
def saved(trained, tmp_path):
    """Checkpoints of the given steps, all of one state; the folder."""

    def save(*steps, keep=2):
        for step in steps:
            tensors = gather(*trained(), keep=True)
            state = {"best": None, "inputs": {"images": "abc"}}
            save_checkpoint(tmp_path, step, tensors, state, keep=keep)
        return tmp_path

    return save


def names(folder):
    return [path.name for path in checkpoints(folder)]


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_it_brings_weights_and_moments_back(trained, saved):
    network, optimizer = trained()
    fresh = nn.Linear(3, 2)
    moments = torch.optim.AdamW(fresh.parameters(), lr=0.1)
    state, problems = load_newest(saved(4), fresh, moments)
    assert (state["step"], problems) == (4, [])
    for one, other in zip(network.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(one, other)
    ours, theirs = (o.state_dict()["state"] for o in (optimizer, moments))
    assert {i: set(slots) for i, slots in ours.items()} == {
        i: set(slots) for i, slots in theirs.items()
    }
    assert all(torch.equal(ours[i][slot], theirs[i][slot]) for i in ours for slot in ours[i])


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_passes(trained, saved, name):
    path = saved(4) / "step-00000004"
    whole = (path / name).read_bytes()
    for bit in range(0, 8 * len(whole), max(1, 8 * len(whole) // 150)):
        flip(path / name, bit)
        with pytest.raises(RunError, match=r"step-00000004.* is damaged"):
            load_checkpoint(path, *trained())
        (path / name).write_bytes(whole)
    assert load_checkpoint(path, *trained())["step"] == 4


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "gone"])
def test_a_damaged_newest_one_is_named_and_the_one_before_is_used(trained, saved, name, damage):
    path = saved(2, 4) / "step-00000004" / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: -5 if damage == "cut" else 0])
    state, (problem,) = load_newest(path.parents[1], *trained())
    assert state["step"] == 2
    assert "step-00000004" in problem
    assert "is damaged" in problem


def test_without_an_intact_checkpoint_all_damage_is_listed(trained, saved):
    folder = saved(2, 4)
    for path in checkpoints(folder):
        (path / "state.json").unlink()
    with pytest.raises(
        RequestError, match=r"step-00000004 .*step-00000002 .*no checkpoint is whol"
    ):
        load_newest(folder, *trained())


def test_one_under_the_name_of_another_step_is_refused(trained, saved):
    folder = saved(4)
    shutil.copytree(folder / "step-00000004", folder / "step-00000009")
    state, (problem,) = load_newest(folder, *trained())
    assert state["step"] == 4
    assert "step-00000009 is damaged: it is of step 4" in problem


def test_those_of_the_first_schema_are_still_read(trained, saved):
    path = saved(4) / "step-00000004" / "state.json"
    state = json.loads(path.read_text())
    del state["sha256"]["state"]
    path.write_text(json.dumps({**state, "schema": 1}))
    assert load_checkpoint(path.parent, *trained())["step"] == 4


def test_moments_of_another_shape_are_refused_even_with_the_right_hash(trained, saved):
    path = saved(4) / "step-00000004"
    moments = load_file(path / "optimizer.safetensors")
    save_file({**moments, "0.exp_avg": torch.zeros(5)}, path / "optimizer.safetensors")
    state = json.loads((path / "state.json").read_text())
    content = (path / "optimizer.safetensors").read_bytes()
    state["sha256"]["optimizer.safetensors"] = hashlib.sha256(content).hexdigest()
    (path / "state.json").write_text(json.dumps(state))
    with pytest.raises(RunError, match=r"0\.exp_avg has shape \(5,\), not \(2, 3\)"):
        load_checkpoint(path, *trained())


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_only_the_newest_checkpoints_remain(saved, keep):
    assert names(saved(2, 4, 6, 8, keep=keep)) == [f"step-0000000{n}" for n in (2, 4, 6, 8)[-keep:]]


def test_a_damaged_one_of_a_later_step_makes_no_whole_one_go(saved):
    folder = saved(4, 8)
    (folder / "step-00000008" / "state.json").unlink()
    saved(5)
    assert names(folder) == ["step-00000004", "step-00000005"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_never_saved(trained, saved, value):
    folder = saved(2)
    network, optimizer = trained()
    with torch.no_grad():
        network.bias[1] = value
    with pytest.raises(Diverged, match=r"bias of weights\.safetensors is not finite at step 4"):
        save_checkpoint(folder, 4, gather(network, optimizer, keep=True), {})
    assert names(folder) == ["step-00000002"]


@pytest.mark.parametrize("moment", ["tensors", "state", "rename"])
def test_a_full_disk_is_reported_and_earlier_checkpoints_remain(
    saved, trained, monkeypatch, moment
):
    folder = saved(2, 4)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    where = {
        "tensors": ("zsrobust.training.checkpoint.save_file", full),
        "state": ("pathlib.Path.write_text", full),
        "rename": ("pathlib.Path.rename", full),
    }
    with monkeypatch.context() as patch:
        patch.setattr(*where[moment])
        with pytest.raises(NotWritten, match=r"step-00000006 could not be written: No space left"):
            saved(6)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000002", "step-00000004"]
    assert load_newest(folder, *trained())[0]["step"] == 4


def test_a_file_that_may_grow_no_further_ends_with_a_sentence(saved, trained, tmp_path):
    """The system's own refusal, by a limit on the size of files, reaches the same sentence."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    folder = saved(2)
    network = nn.Linear(3, 2000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
        tensors = gather(network, torch.optim.SGD(network.parameters(), lr=1.0), keep=True)
        with pytest.raises(RunError, match=r"step-00000004 could not be written"):
            save_checkpoint(folder, 4, tensors, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert names(folder) == ["step-00000002"]
    assert {errno.ENOSPC, errno.EROFS, errno.EFBIG} <= files.DISK
