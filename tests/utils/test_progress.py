import io

import pytest
from rich.console import Console

from zsrobust.utils import progress
from zsrobust.utils.progress import Steps, printable


@pytest.fixture
def now(monkeypatch):
    """The seconds that a clock shows, to be set."""
    seconds = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])
    return seconds


def drawn(bar, width):
    """The line on a terminal of that width."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    bar.console = console
    console.print(bar._drawn())
    return console.file.getvalue()


def test_control_characters_are_escaped_except_newlines() -> None:
    assert printable("a\tb\nc é 日") == "a\tb\nc é 日"
    assert printable("\x1b[2J\0\x7f\x9b") == r"\x1b[2J\x00\x7f\x9b"


def test_a_line_about_a_file_cannot_steer_the_terminal(capsys) -> None:
    Steps("reading", 1).say("skipped \x1b[31mred\x1b[0m.png [bold]")
    assert capsys.readouterr().err == "skipped \\x1b[31mred\\x1b[0m.png [bold]\n"


def test_the_time_left_is_estimated_from_the_steps_alone(capsys, now) -> None:
    bar = Steps("training", 110, done=10)
    with bar.outside():
        now[0] = 500.0
    now[0] = 511.0
    bar.advance()
    with bar.outside():
        now[0] = 800.0
    now[0] = 812.0
    bar.advance(4)
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    # 3 seconds a step: 95 steps are left.
    assert lines == [["training", "11/110"], ["training", "15/110", "4:45", "left"]]


def test_a_slow_first_step_is_forgotten(now):
    bar = Steps("training", 12)
    now[0] = 60.0
    bar.advance()
    assert bar.left() is None
    for _ in range(5):
        now[0] += 2.0
        bar.advance()
    assert bar.left() == 6 * 2


def test_other_work_counts_and_goes_down_while_it_runs(now):
    bar = Steps("training", 10)
    for _ in range(5):
        now[0] += 2.0
        bar.advance()
    bar.further = 30.0
    assert bar.left() == 5 * 2 + 30
    with bar.outside():
        now[0] += 12.0
        assert bar.left() == 5 * 2 + 18
        now[0] += 100.0
        assert bar.left() == 5 * 2
    bar.further = 0.0
    assert bar.left() == 5 * 2


def test_a_step_that_takes_long_does_not_use_up_the_time_of_those_after_it(now):
    bar = Steps("training", 10)
    for _ in range(5):
        now[0] += 2.0
        bar.advance()
    now[0] += 1.0
    assert bar.left() == 9
    now[0] += 1000.0
    assert bar.left() == 8


@pytest.mark.parametrize("title", ["pmg_aft[authors_code]", "reading " + 80 * "x"])
@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 200])
def test_the_line_keeps_what_matters_at_any_width(width, title, now):
    bar = Steps(title, 30_000)
    for _ in range(120):
        now[0] += 1.2
        bar.advance(100, ["loss 1.234", "clean 40%", "adversarial 30%", "held-out 50%/30%"])
    line = drawn(bar, width)
    assert line.count("\n") == 1
    assert len(line.rstrip("\n")) <= width
    assert "12000/30000" in line
    assert "3:36 left" in line
    if width >= 100 and len(title) < 30:
        assert all(figure in line for figure in ("loss 1.234", "clean 40%", "adversarial 30%"))


def test_a_finished_bar_leaves_one_line(capsys, now):
    with Steps("reading", 3) as bar:
        now[0] = 90.0
        bar.advance(3, ["held-out 50%"])
    assert capsys.readouterr().err.splitlines()[-1].split() == [
        *("reading", "3/3", "in", "1:30"),
        *("held-out", "50%"),
    ]


def test_interrupted_work_is_not_called_done(capsys, now):
    def interrupted():
        with Steps("reading", 3):
            now[0] = 200.0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert capsys.readouterr().err == ""


def test_work_of_a_moment_leaves_nothing(capsys, now):
    with Steps("reading", 3) as bar:
        bar.advance(3)
    assert capsys.readouterr().err == ""
