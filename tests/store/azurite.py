"""A server of Azure's blob storage on this machine, and what a client needs to know of it."""

import base64
import hashlib
import hmac
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Final

ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Account and key that every emulator has, as Microsoft's documentation of Azurite gives them; no secret."""
_VERSION: Final = "2021-08-06"
_READY_S: Final = 30


@contextmanager
def server(program: str) -> Iterator[str]:
    """Run the server, which forgets everything when it ends.

    Args:
        program: Where `azurite-blob` is.

    Returns:
        Its endpoint.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    alone = ["--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent"]
    with subprocess.Popen([program, "--blobPort", str(port), *alone], stdout=-3, stderr=-3) as process:
        try:
            _wait(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def settings(endpoint: str) -> dict[str, str]:
    """Environment of a client."""
    return {
        "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
        "AZURE_STORAGE_ACCOUNT_KEY": KEY,
        "AZURE_STORAGE_USE_EMULATOR": "true",
        "AZURITE_BLOB_STORAGE_URL": endpoint,
    }


def new_container(endpoint: str) -> str:
    """Make a container; a request signed as Azure's documentation of shared keys says."""
    name = f"container-{secrets.token_hex(8)}"
    date = formatdate(usegmt=True)
    said = f"x-ms-date:{date}\nx-ms-version:{_VERSION}\n/{ACCOUNT}/{ACCOUNT}/{name}\nrestype:container"
    digest = hmac.digest(base64.b64decode(KEY), f"PUT{12 * chr(10)}{said}".encode(), hashlib.sha256)
    headers = {
        "x-ms-date": date,
        "x-ms-version": _VERSION,
        "Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}",
    }
    url = f"{endpoint}/{ACCOUNT}/{name}?restype=container"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()
    return name


def _wait(port: int) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
