"""Sets that follow-up papers add: ImageNet's relatives, Country211 and Hateful Memes.

Counts are those of each set's own paper or page.
"""

from __future__ import annotations

from zsrobust.data.published.published_set import PublishedSet

_HENDRYCKS = "https://people.eecs.berkeley.edu/~hendrycks"
_NOT_OURS = "MIT (its repository); the images belong to their owners"

FOLLOW_UPS = (
    PublishedSet(
        kind="imagenet-a",
        title="ImageNet-A",
        classes=200,
        counts={"test": 7_500},
        train="test",
        test="test",
        source="https://github.com/hendrycks/natural-adv-examples",
        licence=_NOT_OURS,
        places=("imagenet-a", "."),
        needs=("n01498041",),
        gigabytes=0.69,
        url=f"{_HENDRYCKS}/imagenet-a.tar",
        checksums={"imagenet-a.tar": "c3e55429088dc681f30d81f4726b6595"},
    ),
    PublishedSet(
        kind="imagenet-r",
        title="ImageNet-R",
        classes=200,
        counts={"test": 30_000},
        train="test",
        test="test",
        source="https://github.com/hendrycks/imagenet-r",
        licence=_NOT_OURS,
        places=("imagenet-r", "."),
        needs=("n01443537",),
        gigabytes=2.2,
        url=f"{_HENDRYCKS}/imagenet-r.tar",
        checksums={"imagenet-r.tar": "a61312130a589d0ca1a8fca1f2bd3337"},
    ),
    PublishedSet(
        kind="imagenet-o",
        title="ImageNet-O",
        classes=200,
        counts={"test": 2_000},
        train="test",
        test="test",
        source="https://github.com/hendrycks/natural-adv-examples",
        licence=_NOT_OURS,
        places=("imagenet-o", "."),
        needs=("n01443537",),
        url=f"{_HENDRYCKS}/imagenet-o.tar",
        note=(
            "its images show none of ImageNet's classes; a label is the class whose folder an "
            "image lies in, so accuracy is not what the set is for"
        ),
    ),
    PublishedSet(
        kind="imagenet-sketch",
        title="ImageNet-Sketch",
        classes=1000,
        counts={"test": 50_889},
        train="test",
        test="test",
        source="https://github.com/HaohanWang/ImageNet-Sketch",
        licence=_NOT_OURS,
        places=("sketch", "."),
        needs=("n01440764",),
        gigabytes=7.6,
        url=(
            "https://huggingface.co/datasets/songweig/imagenet_sketch/resolve/main/data/"
            "ImageNet-Sketch.zip"
        ),
    ),
    PublishedSet(
        kind="imagenet-v2",
        title="ImageNet-V2 (matched frequency)",
        classes=1000,
        counts={"test": 10_000},
        train="test",
        test="test",
        source="https://github.com/modestyachts/ImageNetV2",
        licence=_NOT_OURS,
        places=("imagenetv2-matched-frequency-format-val", "."),
        needs=("0", "999"),
        gigabytes=1.26,
        url=(
            "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/"
            "imagenetv2-matched-frequency.tar.gz"
        ),
    ),
    PublishedSet(
        kind="country211",
        title="Country211",
        classes=211,
        counts={"train": 31_650, "valid": 10_550, "test": 21_100},
        train="train",
        test="test",
        source="https://github.com/openai/CLIP/blob/main/data/country211.md",
        licence="Creative Commons, image by image (from YFCC100M)",
        places=("country211", "."),
        needs=("test",),
        gigabytes=2.3,
        torchvision="Country211",
        checksums={"country211.tgz": "84988d7644798601126c29e9877aab6a"},
    ),
    PublishedSet(
        kind="hateful-memes",
        title="Hateful Memes",
        classes=2,
        counts={
            **{"train": 8_500, "dev_seen": 500, "dev_unseen": 540},
            **{"test_seen": 1_000, "test_unseen": 2_000},
        },
        train="train",
        test="test_seen",
        source="https://arxiv.org/abs/2005.04790",
        licence="the Hateful Memes dataset licence: research, no redistribution",
        places=(".", "hateful_memes"),
        needs=("test_seen.jsonl", "img"),
        account=True,
        steps=(
            "sign the licence of the Hateful Memes challenge at ai.meta.com, download the archive "
            "it leads to, and unpack it so that the folder holds img/ and test_seen.jsonl"
        ),
        note="contains hateful content",
    ),
)
