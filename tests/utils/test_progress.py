from zsrobust.utils import progress
from zsrobust.utils.progress import Steps, printable


def test_control_characters_are_escaped_except_newlines() -> None:
    assert printable("a\tb\nc é 日") == "a\tb\nc é 日"
    assert printable("\x1b[2J\0\x7f\x9b") == r"\x1b[2J\x00\x7f\x9b"


def test_a_line_about_a_file_cannot_steer_the_terminal(capsys) -> None:
    Steps("reading", 1).say("skipped \x1b[31mred\x1b[0m.png [bold]")
    assert capsys.readouterr().err == "skipped \\x1b[31mred\\x1b[0m.png [bold]\n"


def test_the_time_left_is_estimated_from_the_steps_alone(capsys, monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    bar = Steps("training", 110, done=10)
    now[0] = 500.0
    bar.begin()
    now[0] = 503.0
    bar.advance()
    now[0] = 515.0
    bar.advance(4)
    lines = [line.split() for line in capsys.readouterr().err.splitlines()]
    # 3 seconds a step: 99 and 95 steps are left.
    assert lines == [["training", "11/110", "4:57", "left"], ["training", "15/110", "4:45", "left"]]
