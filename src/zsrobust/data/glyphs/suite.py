"""The names of the glyph world's zero-shot sets, without what draws them."""

ZERO_SHOT_NAMES = (
    *("capital-letters", "small-letters", "numerals", "greek", "cyrillic", "roman-numerals"),
    *("fractions", "chess", "dice", "zodiac", "planets", "arrows", "crosses", "stars", "notes"),
    *("currencies", "symbols", "shapes", "coloured-shapes", "colours", "grounds", "papers"),
    *("counts", "positions", "kinds", "unseen-fonts", "unseen-styles"),
)
