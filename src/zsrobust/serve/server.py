"""The server: a port of this machine, the page on it, and nothing that leaves it."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import fastapi
import gradio as gr
import uvicorn

from zsrobust.serve.examples import examples
from zsrobust.serve.handlers import Handlers
from zsrobust.serve.limits import Limits
from zsrobust.serve.page import CSS, page, theme
from zsrobust.serve.served import ServedModel
from zsrobust.utils.errors import RequestError

POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; object-src 'none'; "
    "base-uri 'self'; frame-ancestors 'self'"
)
"""What a browser may load for the page: what comes from this server."""
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def claim(host: str, port: int) -> socket.socket:
    """A socket that listens at this address.

    Raises:
        RequestError: if the port is taken or the host is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as reason:
        why = getattr(reason, "strerror", None) or str(reason)
        raise RequestError(
            f"cannot serve at {host}, port {port} ({why}): choose another with --host or --port"
        ) from None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int) -> str:
    """What to open in a browser."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run_server(
    models: tuple[ServedModel, ...],
    listening: socket.socket,
    limits: Limits,
    ready: Callable[[], None],
) -> None:
    """Serve until interrupted; ``ready`` is called once the page is built.

    Raises:
        KeyboardInterrupt: on Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="zsrobust-serve-") as folder:
        # Uploads and downloads go with the server.
        os.environ["GRADIO_TEMP_DIR"] = folder
        handlers = Handlers(models, limits)
        blocks = page(handlers, examples(models), Path(folder))
        blocks.queue(max_size=limits.waiting)
        app = gr.mount_gradio_app(
            fastapi.FastAPI(openapi_url=None),
            blocks,
            path="",
            footer_links=[],
            run_history=False,
            max_file_size=limits.upload_bytes,
            ssr_mode=False,
            enable_monitoring=False,
            mcp_server=False,
            show_error=False,
            theme=theme(),
            css_paths=CSS,
        )
        config = uvicorn.Config(
            _guarded(app), log_level="warning", ws="none", timeout_graceful_shutdown=1
        )
        ready()
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            handlers.close()


def _guarded(app: Any) -> Any:
    """``app`` with ``POLICY`` on every answer."""

    async def answer(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        async def with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [
                    *message.get("headers", []),
                    (b"content-security-policy", POLICY.encode()),
                ]
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, with_policy)

    return answer
