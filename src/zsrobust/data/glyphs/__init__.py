"""The glyph world: an endless source of labelled, captioned images made of glyphs and shapes.

Nothing is stored. An image is a function of (set, split, index): ``draws`` turns the three into
numbers, ``scenes`` the numbers into what is to be seen, ``render`` that into pixels.
"""
