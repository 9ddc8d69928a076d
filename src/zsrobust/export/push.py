"""``zsrobust push``: an export's files to the Hugging Face hub. Nothing else is ever uploaded."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from zsrobust.export.folder import read_mark, require_whole
from zsrobust.utils.errors import RequestError, RunError


def push(folder: Path, repository: str, *, private: bool = False) -> str:
    """Upload an exported folder; gives the repository's address.

    Only the files that the export wrote are uploaded, each found unchanged, the card excepted.
    The repository is made where there is none; ``private`` decides over a new one alone.

    Raises:
        RequestError: if the folder is no whole export, the name is none, or there is no token.
        RunError: if the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    names = require_whole(folder)
    try:
        validate_repo_id(repository)
    except HFValidationError:
        repository_is_named = False
    else:
        repository_is_named = repository.count("/") <= 1
    if not repository_is_named:
        raise RequestError(f"{repository!r} is no repository's name: write NAME or ORG/NAME")
    if get_token() is None:
        raise RequestError("there is no token for the hub: run `hf auth login`, or set HF_TOKEN")
    api: Any = HfApi()
    try:
        address = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=address.repo_id,
            folder_path=str(folder),
            allow_patterns=[_literal(name) for name in names],
            commit_message=f"{read_mark(folder)['method']}, exported by zsrobust",
        )
    # Its HTTP libraries raise classes of their own, which change between versions.
    except Exception as reason:
        details = textwrap.shorten(" ".join(str(reason).split()), 200)
        raise RunError(
            f"{folder} was not pushed to {constants.ENDPOINT}/{repository}: {details}"
        ) from reason
    return str(address)


def _literal(name: str) -> str:
    """A pattern that matches ``name`` alone."""
    return name.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]")
