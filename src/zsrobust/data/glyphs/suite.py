"""The names of the glyph world's zero-shot sets, without what draws them."""

ZERO_SHOT_NAMES = (
    *("capital-letters", "small-letters", "numerals", "greek", "cyrillic", "roman-numerals"),
    *("fractions", "chess", "dice", "zodiac", "planets", "arrows", "crosses", "stars", "notes"),
    *("currencies", "symbols", "shapes", "coloured-shapes", "papers", "counts", "positions"),
    *("kinds", "unseen-fonts", "unseen-styles"),
)

FURTHER_NAMES = ("colours", "grounds")
"""No part of the suite: 8/255 cannot hide a plain colour, so that even a model that was never
defended keeps much of its accuracy there, and robustness is not what they measure."""
