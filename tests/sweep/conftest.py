import pytest


@pytest.fixture
def words(small_clip, photos, tmp_path):
    """A sweep of seconds on a random CLIP: what it is trained and evaluated on, and where."""
    train, one, two = photos("train", 4, 8), photos("one", 3, 4), photos("other", 2, 5)
    return [
        *("--model", small_clip, "--data", f"imagefolder:{train},name=world"),
        *("--steps", "2", "--batch_size", "8", "--hold_out", "0.2", "--attack.eps", "4/255"),
        *("--evaluation.data", f"imagefolder:{one}", f"imagefolder:{two}"),
        *("--evaluation.attack", "pgd-2", "--evaluation.eps", "4/255"),
        *("--out", str(tmp_path / "out")),
    ]
