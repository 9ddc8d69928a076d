"""The table of published sets, by kind."""

from __future__ import annotations

from zsrobust.data.image_set import ImageSet
from zsrobust.data.published.follow_ups import FOLLOW_UPS
from zsrobust.data.published.published_set import PublishedSet
from zsrobust.data.published.sixteen import SIXTEEN

TABLE: dict[str, PublishedSet] = {known.kind: known for known in (*SIXTEEN, *FOLLOW_UPS)}
"""Every published set, the sixteen of PMG-AFT's tables first."""


def shortfall(images: ImageSet) -> str:
    """In how many images the split of a published set differs from the published one, in a line.

    Empty where it does not, and for a set of one's own.
    """
    known = TABLE.get(images.origin)
    published = known.counts.get(images.split) if known else None
    if published in (None, len(images)):
        return ""
    return f"{images.name}/{images.split} has {len(images)} images, the published one {published}"
