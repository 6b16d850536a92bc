"""The login file: who may enter as what, and the key that signs their cookies.

It is TOML, read by nobody but its owner and group, and read again when it changes:

    key = "..."                       # made by `cc-ray password`; another key ends everybody's login

    [users."anna"]
    role = "operator"                 # or "reader"
    password = "scrypt$..."           # made by `cc-ray password anna`

    [users."nightly-report"]
    role = "reader"
    token = "sha256$..."              # made by `cc-ray password nightly-report --token`

    [oidc]                            # see `provider.py`
"""

from __future__ import annotations

import logging
import os
import stat
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError

from cc_ray.errors import CcRayError
from cc_ray.serve.login.provider import Provider

NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,126}"
"""What people and programs may be called."""
_FOREIGN: Final = stat.S_IRWXO | stat.S_IWGRP
"""Rights that nobody may have of the file: others any, its group to write."""
_log: Final = logging.getLogger(__name__)


class Person(BaseModel, extra="forbid", frozen=True):
    """Somebody, or a program, who may enter."""

    role: Literal["reader", "operator"]
    """Readers look; operators also start and stop studies and write."""
    password: str = ""
    """Hash; empty for programs."""
    token: str = ""
    """Digest; empty for people."""


class Known(BaseModel, extra="forbid", frozen=True):
    """What a login file says."""

    key: str = Field(min_length=32)
    """Signs cookies. All replicas read the same."""
    users: dict[Annotated[str, StringConstraints(pattern=f"^{NAME}$")], Person] = {}
    oidc: Provider | None = None


def read(path: Path) -> Known:
    """Read a login file.

    Raises:
        CcRayError: If it cannot be read, may be read by others, or does not say what it should.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise CcRayError(
            f"the login file '{path}' cannot be read ({error}). Make one with: cc-ray password NAME --login {path}"
        ) from error
    if mode & _FOREIGN:
        raise CcRayError(
            f"others may read or write the login file '{path}' (mode {stat.S_IMODE(mode):04o}). "
            f"It holds secrets: chmod 600 {path}"
        )
    try:
        known = Known.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise CcRayError(f"the login file '{path}' is not TOML: {error}.") from error
    except ValidationError as error:
        # The values are secrets: only where they stand is told.
        wrong = "; ".join(f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors())
        raise CcRayError(f"the login file '{path}' does not say what it should: {wrong}.") from None
    if known.oidc and find_spec("authlib") is None:
        raise CcRayError(f"the login file '{path}' has `oidc`, which needs: pip install 'cc-ray[oidc]'")
    return known


class LoginFile:
    """A login file as it is now.

    Args:
        path: Of the file.

    Raises:
        CcRayError: If it is not right at the beginning. One that becomes wrong later stays as it was, and the log says
            so.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._seen = self._version()
        self._known = read(self._path)

    @property
    def known(self) -> Known:
        """What it says."""
        version = self._version()
        if version != self._seen:
            self._seen = version
            try:
                self._known = read(self._path)
            except CcRayError as error:
                _log.error("%s What it said before stays in force.", error)
        return self._known

    def _version(self) -> tuple[int, ...]:
        try:
            found = os.stat(self._path)
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino, found.st_mode
