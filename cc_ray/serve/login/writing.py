"""Puts people into a login file, and leaves whatever else stands in it alone."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from pathlib import Path

from cc_ray.errors import CcRayError
from cc_ray.serve.login.file import NAME, Known, Person, read


def put(path: Path, name: str, person: Person) -> Known:
    """Put somebody into a login file, which is made if need be, in place of whom it knows by this name.

    The file is whole at any time, and only its owner can read it.

    Args:
        path: Of the file.
        name: What they enter as.
        person: Their role, password or token. A password or token that is left out stays as it is.

    Returns:
        What the file says then.

    Raises:
        CcRayError: If the name cannot be one, or the file is not a login file.
    """
    if not re.fullmatch(NAME, name):
        raise CcRayError(f"'{name}' cannot be a name: begin with a letter or digit and go on with these and . _ @ + -.")
    if path.exists():
        before = read(path).users.get(name)
        text = path.read_text()
    else:
        before, text = None, f'key = "{secrets.token_urlsafe(48)}"\n'
    kept = before.model_dump() if before else {}
    merged = Person(**{**kept, **{field: value for field, value in person.model_dump().items() if value}})
    _replace(path, f"{without(text, name).rstrip()}\n\n{_block(name, merged)}")
    return read(path)


def without(text: str, name: str) -> str:
    """A login file's text without the table of one user."""
    head = rf"""^\[users\.["']?{re.escape(name)}["']?\][^\n]*\n"""
    return re.sub(head + r"(?:(?![\[#])[^\n]*\n)*", "", text, flags=re.MULTILINE)


def _block(name: str, person: Person) -> str:
    lines = [f'{field} = "{value}"' for field, value in person.model_dump().items() if value]
    return "\n".join([f'[users."{name}"]', *lines, ""])


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, made = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(made, path)
    except BaseException:
        os.unlink(made)
        raise
