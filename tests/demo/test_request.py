import shlex
from dataclasses import replace

import pytest

from zsrobust.cli.commands.demo import parse
from zsrobust.demo.request import DemoRequest
from zsrobust.demo.run import stages
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


def test_work_grows_with_what_a_method_and_an_attack_do(plan, tmp_path):
    def works(attack):
        changed = replace(plan, attack=(attack,))
        return [stage.passes for stage in stages(changed, tmp_path, trained=0, sizes=[10, 20])]

    clean, tecoa, pmg_aft, evaluating = works("pgd-10")
    assert 0 < clean < tecoa < pmg_aft
    assert clean == 3 * plan.steps * plan.batch_size
    assert works("pgd-2")[-1] < evaluating < works("autoattack")[-1]
