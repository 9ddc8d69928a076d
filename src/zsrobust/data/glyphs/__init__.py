"""Drawn data sets: labelled, captioned images of glyphs and shapes, any number of them.

Nothing is stored. An image is a function of (set, split, index): ``draws`` turns the three into
numbers, ``scenes`` the numbers into what is to be seen, ``render`` that into pixels.
"""
