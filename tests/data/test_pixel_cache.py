import dataclasses
import os
import pickle
import shutil
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zsrobust.data import loading
from zsrobust.data.image_folder import image_folder
from zsrobust.data.image_set import ImageSet
from zsrobust.data.pixel_cache import PixelCache, pixel_cache
from zsrobust.data.split import hold_out
from zsrobust.data.verify import stamped
from zsrobust.utils import cache as caches


@pytest.fixture
def photos(tmp_path: Path, write_image) -> ImageSet:
    for i in range(12):
        write_image(tmp_path / f"photos/{'ab'[i % 2]}/{i}.jpg", (40 + i, 30), seed=i)
    return stamped(image_folder(tmp_path / "photos"))


@pytest.fixture
def decoded(monkeypatch):
    """How many images were decoded since it was last asked."""
    count = 0
    read = ImageSet.read_rgb

    def counted(self, index):
        nonlocal count
        count += 1
        return read(self, index)

    monkeypatch.setattr(ImageSet, "read_rgb", counted)

    def since() -> int:
        nonlocal count
        found, count = count, 0
        return found

    return since


def pixels(images: ImageSet, resize="clip", resolution=24, workers=0) -> torch.Tensor:
    lists = [list(range(at, min(at + 5, len(images)))) for at in range(0, len(images), 5)]
    batches = loading.load_batches(
        images, lists, resize=resize, resolution=resolution, workers=workers
    )
    return torch.cat([batch.images for batch in batches])


@pytest.mark.parametrize("resize", ["clip", "authors_code"])
@pytest.mark.parametrize("workers", [0, 2])
def test_kept_pixels_are_the_decoded_ones(photos, decoded, resize: str, workers: int) -> None:
    plain = pixels(dataclasses.replace(photos, stamp=""), resize)
    for _ in range(2):
        assert torch.equal(pixels(photos, resize, workers=workers), plain)
    decoded()
    assert torch.equal(pixels(photos, resize), plain)
    assert decoded() == 0


def test_another_resize_resolution_or_file_is_decoded_anew(photos, decoded) -> None:
    pixels(photos)
    decoded()
    pixels(photos, "authors_code")
    assert decoded() == 12
    pixels(photos, resolution=32)
    assert decoded() == 12
    path = Path(photos.where(0))
    os.utime(path, ns=(1, 1))
    pixels(stamped(photos))
    assert decoded() == 12


def test_the_splits_of_a_set_share_what_is_kept(photos, decoded) -> None:
    whole = pixels(photos)
    decoded()
    for seed in range(3):
        for part in hold_out(photos, 0.25, seed):
            at = [photos.sample_ids.index(sample_id) for sample_id in part.sample_ids]
            assert torch.equal(pixels(part), whole[at])
    assert decoded() == 0


def test_native_pixels_are_kept_at_their_size(memory_set, decoded) -> None:
    native = dataclasses.replace(memory_set([0, 1, 2]), native_size=8, stamp="known")
    first = pixels(stamped(native), resolution=8)
    decoded()
    assert torch.equal(pixels(stamped(native), resolution=8), first)
    assert decoded() == 0


def test_sets_in_memory_are_not_kept(memory_set, cache: Path) -> None:
    assert pixel_cache(stamped(memory_set([0, 1])), "clip", 8) is None
    pixels(memory_set([0, 1]))
    assert not (cache / "pixels").exists()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(min_size=1, max_size=40), st.floats(0, 1), st.booleans())
def test_any_damage_is_healed(photos, cache: Path, junk: bytes, place: float, cut: bool) -> None:
    plain = pixels(dataclasses.replace(photos, stamp=""))
    pixels(photos)
    (path,) = (cache / "pixels").iterdir()
    # Damage behind the last record of an earlier example stays, and harms none.
    content = path.read_bytes()[: 12 * (4 + 3 * 24**2)]
    at = int(place * len(content))
    path.write_bytes(content[:at] + (b"" if cut else junk + content[at + len(junk) :]))
    assert torch.equal(pixels(photos), plain)
    assert path.read_bytes()[: len(content)] == content


def test_a_record_in_the_wrong_slot_or_a_hole_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    kept = PixelCache(path, 4)
    image = np.random.default_rng(0).integers(0, 256, (3, 4, 4), np.uint8)
    black = np.zeros((3, 4, 4), np.uint8)
    kept.write(3, image)
    kept.write(5, black)
    np.testing.assert_array_equal(kept.read(3), image)
    np.testing.assert_array_equal(kept.read(5), black)
    assert [kept.read(slot) for slot in (0, 1, 2, 4, 6)] == [None] * 5
    content = bytearray(path.read_bytes())
    content[0:52] = content[3 * 52 : 4 * 52]
    path.write_bytes(content)
    assert kept.read(0) is None
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(kept)).read(3), image)


def test_many_may_fill_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 16, 16), np.uint8)

    def fill(_: int) -> bool:
        mine = PixelCache(path, 16)
        good = True
        for slot in range(50):
            found = mine.read(slot)
            good &= found is None or bool((found == images[slot]).all())
            mine.write(slot, images[slot])
        return good

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(fill, range(8)))
    for slot in range(50):
        np.testing.assert_array_equal(PixelCache(path, 16).read(slot), images[slot])


def test_a_set_past_a_tenth_of_the_limit_is_not_kept(photos, cache: Path, monkeypatch) -> None:
    size = 12 * (4 + 3 * 24 * 24)
    monkeypatch.setenv("ZSROBUST_CACHE_GB", str((10 * size - 10) / 1e9))
    assert pixel_cache(photos, "clip", 24) is None
    monkeypatch.setenv("ZSROBUST_CACHE_GB", str((10 * size + 10) / 1e9))
    assert pixel_cache(photos, "clip", 24) is not None
    pixels(photos)
    (path,) = (cache / "pixels").iterdir()
    assert path.stat().st_size == size


def test_a_full_disk_or_a_closed_folder_costs_time_only(photos, cache, monkeypatch) -> None:
    plain = pixels(dataclasses.replace(photos, stamp=""))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
        assert torch.equal(pixels(photos), plain)
    (cache / "pixels").rename(cache / "moved")
    (cache / "pixels").touch()
    assert torch.equal(pixels(photos), plain)
    (cache / "pixels").unlink()
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 1 << 20))
    assert torch.equal(pixels(photos), plain)
    assert not (cache / "pixels").exists()
    assert caches.make_room(1) is False
