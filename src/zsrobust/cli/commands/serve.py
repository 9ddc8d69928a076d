"""Attack your own images in the browser, and compare up to four models.

Ctrl-C stops the server.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from zsrobust.cli.output import Output
from zsrobust.cli.parser import Parser
from zsrobust.models.names import check_name
from zsrobust.utils.errors import Stopped
from zsrobust.utils.extras import require_installed


def parsers() -> list[Parser]:
    """Models, and where the page is."""
    parser = Parser(prog="zsrobust serve", description=__doc__)
    parser.add_argument(
        "model",
        nargs="*",
        metavar="MODEL",
        help="up to four models, as in evaluate --model (photo-lite and photo-lite-robust if "
        "installed, else glyph-clip and glyph-clip-robust)",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (127.0.0.1: this machine only)"
    )
    parser.add_argument("--port", type=int, default=7860, help="port to listen on (7860)")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="where models run"
    )
    return [parser]


def run(argv: Sequence[str], output: Output) -> None:
    """Serve until Ctrl-C."""
    [parser] = parsers()
    args = parser.parse_args(argv)
    require_installed("serve", "gradio")
    for name in args.model:
        check_name(name)
    from zsrobust.serve.limits import Limits
    from zsrobust.serve.served import default_models, load_served
    from zsrobust.serve.server import address, claim, is_loopback, run_server
    from zsrobust.utils.devices import torch_device

    device = torch_device(args.device)
    limits = Limits()
    with claim(args.host, args.port) as listening:
        if not is_loopback(args.host):
            output.warn(
                f"warning: {args.host} is reachable from other machines, and there is no password"
            )
        names = tuple(args.model) or default_models()
        output.show(f"loading {', '.join(names)}")
        models = load_served(names, device, limits)
        for one in models:
            if one.model.unfinished:
                output.warn(
                    f"warning: {one.name}: its fine-tuning is unfinished ({one.model.unfinished})"
                )
        at = address(args.host, args.port)

        def ready() -> None:
            output.show(f"open {at} (Ctrl-C stops the server)")
            output.result({"address": at, "models": names})

        try:
            run_server(models, listening, limits, ready)
        except KeyboardInterrupt as ended:
            by = ended.exit_code - 128 if isinstance(ended, Stopped) else signal.SIGINT
            raise Stopped("stopped", by) from None
