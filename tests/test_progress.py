from zsrobust.progress import Steps, printable


def test_control_characters_are_spelled_out_and_lines_kept() -> None:
    assert printable("a\tb\nc é 日") == "a\tb\nc é 日"
    assert printable("\x1b[2J\0\x7f\x9b") == r"\x1b[2J\x00\x7f\x9b"


def test_a_line_about_a_file_cannot_steer_the_terminal(capsys) -> None:
    Steps("reading", 1).say("skipped \x1b[31mred\x1b[0m.png [bold]")
    assert capsys.readouterr().err == "skipped \\x1b[31mred\\x1b[0m.png [bold]\n"
