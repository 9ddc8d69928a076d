import shlex

import pytest

from zsrobust.cli.commands.demo import parse
from zsrobust.demo.request import DemoRequest
from zsrobust.demo.run import Clock, Stage, attack_steps, stages
from zsrobust.utils.errors import RequestError


@pytest.mark.parametrize(
    ("argv", "folder", "photos"),
    [
        ([], "runs/demo", None),
        (["--quick"], "runs/demo-quick", None),
        (["--full"], "runs/demo-full", None),
        (["--photos"], "runs/demo-examples", ""),
        (["--photos", "--device", "cpu"], "runs/demo-examples", ""),
        (["--photos", "my pets", "--quick"], "runs/demo-photos-quick", "my pets"),
        (["--photos=pets", "--out", "here"], "here", "pets"),
    ],
)
def test_words_to_a_request_and_back(argv, folder, photos):
    request = parse(argv)
    assert str(request.folder) == folder
    assert request.photos == photos
    program, demo, *again = shlex.split(request.command)
    assert (program, demo) == ("zsrobust", "demo")
    assert parse(again) == request


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--quick", "--full"], "quick and full were both asked for: choose one"),
        (["--photos", "--quick"], "quick and full are for demonstrations that train"),
        (["--qick"], "there is no option --qick; did you mean --quick?"),
        (["--device", "tpu"], "device is tpu"),
    ],
)
def test_wrong_words_are_refused(argv, message):
    with pytest.raises(RequestError) as refused:
        parse(argv)
    assert message in str(refused.value)


def test_a_request_from_python_is_checked_too():
    with pytest.raises(RequestError, match="quick is 3"):
        DemoRequest(quick=3)


def test_the_remaining_time_is_extrapolated():
    said, times = [], iter([0, 0, 30, 30, 90, 90])
    clock = Clock([Stage("a", 1), Stage("b", 2), Stage("c", 1)], said.append, lambda: next(times))
    clock.begin()
    next(times)
    for _ in range(2):
        clock.begin()
    assert said[0] == "[1/3] a"
    assert said[1] == "[2/3] b (0:30 so far, about 1:30 left in all)"
    assert said[2] == "[3/3] c (1:30 so far, about 0:30 left in all)"


def test_work_grows_with_what_a_method_and_an_attack_do(plan):
    *training, evaluating = stages(plan, held_out=0, tested=10)
    clean, tecoa, pmg_aft = (stage.work for stage in training)
    assert 0 < clean < tecoa < pmg_aft
    assert clean == 3 * plan.steps * plan.batch_size
    # Four models, ten images, one pass and two steps of three passes.
    assert evaluating.work == 4 * 10 * (1 + 2 * 3)
    assert attack_steps("pgd-50") == 50
    assert attack_steps("autoattack") > 100
