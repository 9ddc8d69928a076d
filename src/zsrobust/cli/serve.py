"""``zsrobust serve``: from words to a page that is open until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from zsrobust.config.word_parser import WordParser
from zsrobust.export.installed import require_installed
from zsrobust.models.names import check_name
from zsrobust.utils.errors import Stopped

Say = Callable[[str], None]


def serve_parser() -> WordParser:
    """The options of ``zsrobust serve``."""
    parser = WordParser(
        prog="zsrobust serve",
        description="Open a page on this machine: drop in an image, write class names, attack it, "
        "and compare models side by side. Ctrl-C ends it.",
    )
    parser.add_argument(
        "model",
        nargs="*",
        metavar="MODEL",
        help="up to four, anything --model takes (the embedded ones)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="who may reach it (127.0.0.1)")
    parser.add_argument("--port", type=int, default=7860, help="where it listens (7860)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where models run"
    )
    return parser


def run_serve(
    words: Sequence[str], show: Say, warn: Say, figures: Callable[[dict[str, Any]], None]
) -> None:
    """Serve until Ctrl-C; ``show`` and ``warn`` print a line, ``figures`` the address and models.

    Raises:
        RequestError: if the words are wrong, the extra is not installed, the port is taken or a
            model cannot be loaded.
        Stopped: on Ctrl-C or SIGTERM.
    """
    given = serve_parser().parse_args(list(words))
    require_installed("serve", "gradio")
    for name in given.model:
        check_name(name)
    from zsrobust.serve.limits import Limits
    from zsrobust.serve.served import load_served
    from zsrobust.serve.server import address, claim, is_loopback, run_server
    from zsrobust.utils.devices import torch_device

    device = torch_device(given.device)
    limits = Limits()
    with claim(given.host, given.port) as listening:
        if not is_loopback(given.host):
            warn(
                f"warning: {given.host} is open to other machines, and whoever reaches it may run "
                "attacks here: there is no password"
            )
        models = load_served(given.model, device, limits)
        for one in models:
            if one.model.unfinished:
                warn(f"warning: {one.name} is of a fine-tuning at {one.model.unfinished}")
        at = address(given.host, given.port)

        def ready() -> None:
            show(f"serving {', '.join(one.name for one in models)}: open {at} (Ctrl-C ends it)")
            figures({"address": at, "models": [one.name for one in models]})
            # Whoever reads it from a pipe waits for it.
            sys.stdout.flush()

        try:
            run_server(models, listening, limits, ready)
        except KeyboardInterrupt as ended:
            by = ended.exit_code - 128 if isinstance(ended, Stopped) else signal.SIGINT
            raise Stopped("stopped", by) from None
