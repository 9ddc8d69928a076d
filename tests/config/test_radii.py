import pytest

from zsrobust.config.parsing import parse_evaluate, parse_finetune, recipe
from zsrobust.config.schema import TrainingAttack, to_plain
from zsrobust.utils.errors import RequestError

GIVEN = ["--model", "m", "--data", "digits"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--eps 4", "eps is 4: must be below 1, the whole pixel range"),
        ("--eps 8", "did you mean 8/255, or norm l2?"),
        ("--eps 0.5", "did you mean 0.5/255, or norm l2? Write '127.5/255'"),
        ("--eps 300", "write 1/255 or 0.0039"),
        ("--norm l2", "eps is 1/255: must be 0, or above 8/255 in l2"),
        ("--pgd.step_size 1", "pgd.step_size is 1: must be below 1"),
        (
            "--eps 4/25",
            "eps is 4/25: must be a fraction of 255; did you mean 4/255? Write '40.8/255'",
        ),
        ("--eps 8/256", "eps is 8/256: must be a fraction of 255; did you mean 8/255?"),
        ("--pgd.step_size 1/25", "pgd.step_size is 1/25: must be a fraction of 255"),
        ("--pgd.step_size 0.5", "did you mean 0.5/255? Write '127.5/255'"),
    ],
)
def test_lengths_in_the_wrong_unit_are_refused_with_the_one_that_is_meant(argv, message):
    with pytest.raises(RequestError) as refused:
        parse_evaluate([*GIVEN, *argv.split()])
    assert message in str(refused.value)


def test_a_radius_that_is_hardly_meant_is_refused_wherever_it_is_given(tmp_path):
    """0.5 is half of the pixel range in L-inf and usual in L2; 1/255 is nothing in L2."""
    written = tmp_path / "mine.yaml"
    written.write_text("attack: {eps: 0.5}\n")
    for parse in (
        lambda: parse_finetune(["--config", str(written), *GIVEN]),
        lambda: parse_finetune([*GIVEN, "--attack.eps", "0.5"]),
        lambda: recipe("tecoa", model="m", data="d", attack={"eps": 0.5}),
        lambda: TrainingAttack(eps=0.5),
    ):
        with pytest.raises(RequestError, match=r"^attack\.eps is 0\.5: .* attack\.norm l2\?"):
            parse()
    with pytest.raises(RequestError, match=r"^attack\.eps is 1/255: .* 8/255 in l2"):
        parse_finetune([*GIVEN, "--attack.norm", "l2"])
    # A fraction says its unit, and what is stored of one is read back.
    large = parse_evaluate([*GIVEN, "--eps", "127.5/255"])
    assert parse_evaluate([*GIVEN, "--eps", *to_plain(large)["eps"]]).eps == [0.5]
    assert parse_evaluate([*GIVEN, "--eps", "1/2", "3", "--norm", "l2"]).eps == [0.5, 3.0]
    assert parse_evaluate([*GIVEN, "--eps", "0", "0.0039"]).eps == [0, 0.0039]
