from zsrobust.evaluation.evaluator import evaluate
from zsrobust.utils.units import Eps


def test_an_interpolated_model_is_compared_with_its_original(config, tuned, small_clip):
    name = f"wise({tuned}, 0.5)"
    results = evaluate(config(model=[name, tuned], eps=[Eps("1/255")]))
    models = results.protocol["models"]
    assert list(models) == [small_clip, name, tuned]
    assert models[name]["method"] == "wise(pmg_aft[paper], 0.5)"
    assert models[name]["source"] == small_clip
    assert len({settings["weights"] for settings in models.values()}) == 3
    assert {row.seen for row in results.rows if row.model == name and row.dataset == "one"} == {
        True
    }
