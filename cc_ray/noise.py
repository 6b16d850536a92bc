"""Silences what libraries say while they are imported and a user can do nothing about."""

from __future__ import annotations

import logging
from typing import Final

_SAID: Final = {
    # Kernels for devices that this machine does not have.
    "torchao": "Failed to load",
    # torchao registers its enumerations the way that torch is about to drop.
    "torch.utils._pytree": "is an Enum subclass and is now natively supported",
}


class _Without(logging.Filter):
    """Drops the records that contain one text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def filter(self, record: logging.LogRecord) -> bool:
        return self._text not in record.getMessage()


def silence() -> None:
    """Drop torchao's messages about kernels of other devices; call it before anything imports torchao."""
    for logger, text in _SAID.items():
        if not any(isinstance(held, _Without) for held in logging.getLogger(logger).filters):
            logging.getLogger(logger).addFilter(_Without(text))
