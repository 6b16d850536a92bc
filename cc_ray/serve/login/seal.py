"""Values that travel through a browser and come back unchanged, or not at all: signed, and good for a while."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from typing import Any, Final

LONGEST: Final = 4000
"""Characters of a sealed value: what browsers keep in a cookie."""


class Seal:
    """Signs values for one purpose: none that was made for another is taken.

    Args:
        key: The secret that all replicas share.
        purpose: What the values are for.
    """

    def __init__(self, key: str | bytes, purpose: str) -> None:
        secret = key.encode() if isinstance(key, str) else key
        self._key = hmac.digest(secret, f"cc-ray {purpose}".encode(), hashlib.sha256)

    def closed(self, value: dict[str, Any], lifetime_s: float) -> str:
        """A value with its signature, for so many seconds."""
        body = _text(json.dumps({**value, "until": time.time() + lifetime_s}, separators=(",", ":")).encode())
        return f"{body}.{self._signature(body)}"

    def opened(self, sealed: str) -> dict[str, Any] | None:
        """The value, with the time when it ends as `until`; None if it is not one of ours, or over."""
        body, _, signature = sealed.partition(".")
        if len(sealed) > LONGEST or not sealed.isascii() or not hmac.compare_digest(signature, self._signature(body)):
            return None
        try:
            value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            return None
        return value if value["until"] > time.time() else None

    def fingerprint(self, text: str) -> str:
        """Tells that a text is still the same, without telling the text."""
        return _text(hmac.digest(self._key, text.encode(), hashlib.sha256)[:12])

    def _signature(self, body: str) -> str:
        return _text(hmac.digest(self._key, body.encode(), hashlib.sha256))


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode().rstrip("=")
