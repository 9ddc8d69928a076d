from zsrobust.serve import examples


def test_each_is_seen_rightly_by_the_embedded_model(served):
    glyph_clip = served[0]
    found = examples.examples([glyph_clip])
    # The photographs' names are unknown to it, and the same to it.
    assert len(found) == len(examples.GLYPHS)
    from zsrobust.serve.comparison import clean_predictions
    from zsrobust.serve.picture import Picture

    for one in found:
        said = clean_predictions(Picture(one.image, "example"), one.class_names, [glyph_clip])
        assert said["glyph-clip"].top == one.shows


def test_without_the_photographs_there_are_the_drawings(served, monkeypatch):
    monkeypatch.setattr("zsrobust.demo.examples.PHOTOGRAPHS", {"no_such_package/cat.png": "cat"})
    assert len(examples.examples(served)) == len(examples.GLYPHS)
