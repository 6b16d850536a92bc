"""Passwords as scrypt hashes, tokens as digests; compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from functools import cache
from typing import Final

_LOG2_N: Final = 15
_R: Final = 8
_P: Final = 3
"""32 MB and a quarter of a second for each password: what OWASP advises for scrypt."""
_MOST_BYTES: Final = 2**28
"""Of memory, whatever a hash in a file asks for."""


def hashed(password: str) -> str:
    """A password as it stands in a login file."""
    salt = secrets.token_bytes(16)
    return f"scrypt${_LOG2_N}${_R}${_P}${_text(salt)}${_text(_scrypt(password, salt, _LOG2_N, _R, _P))}"


def matches(password: str, kept: str) -> bool:
    """Whether a password is the one of a hash; takes as long for any password. False for what is no hash."""
    try:
        kind, log2_n, r, p, salt, expected = kept.split("$")
        found = _scrypt(password, base64.b64decode(salt), int(log2_n), int(r), int(p))
        return kind == "scrypt" and hmac.compare_digest(found, base64.b64decode(expected))
    except (ValueError, binascii.Error):
        return False


@cache
def nobodys() -> str:
    """A hash that no password has: compared with where a name is not known, so that an answer takes as long."""
    return hashed(secrets.token_urlsafe())


def new_token() -> str:
    """A token for a program: long enough not to need a slow hash."""
    return "ccr_" + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """A token as it stands in a login file."""
    return "sha256$" + hashlib.sha256(token.encode()).hexdigest()


def _scrypt(password: str, salt: bytes, log2_n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**log2_n, r=r, p=p, maxmem=_MOST_BYTES, dklen=32)


def _text(value: bytes) -> str:
    return base64.b64encode(value).decode()
