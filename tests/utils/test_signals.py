"""What a signal does to a command, and to a block that notes it."""

import os
import signal
import subprocess
import sys

import pytest

from zsrobust.cli.commands import recipes
from zsrobust.cli.main import main
from zsrobust.utils.signals import Interrupt, sigterm_stops

HANDLERS = [signal.getsignal(number) for number in Interrupt.SIGNALS]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_ends_with_the_code_of_its_signal(number, code, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "run", lambda argv, output: os.kill(os.getpid(), number))
    assert main(["recipes"]) == code
    assert "run the same command to resume" in capsys.readouterr().err
    assert [signal.getsignal(number) for number in Interrupt.SIGNALS] == HANDLERS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_is_noted_and_the_second_acts(number, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    asked = []

    def twice():
        with sigterm_stops(), Interrupt() as interrupt:
            os.kill(os.getpid(), number)
            asked.append(interrupt.asked)
            os.kill(os.getpid(), number)
            asked.append("the second did not act")

    with pytest.raises(KeyboardInterrupt):
        twice()
    assert asked == [number]
    assert [signal.getsignal(number) for number in Interrupt.SIGNALS] == HANDLERS


def test_below_torchrun_all_are_noted(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with Interrupt() as interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert interrupt.asked == signal.SIGINT
    assert [signal.getsignal(number) for number in Interrupt.SIGNALS] == HANDLERS


def test_a_shell_sees_the_code():
    script = (
        "import os, signal, sys\n"
        "from zsrobust.cli.commands import recipes\n"
        "from zsrobust.cli.main import main\n"
        "recipes.run = lambda argv, output: os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.exit(main(['recipes']))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert run.returncode == 143
