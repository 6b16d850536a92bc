"""Objects below one URL of S3, Google Cloud Storage or Azure: what a store needs of them, with errors and retries.

Writing an object is whole or not at all, and `swap` writes only if nobody else has written meanwhile: that stands in
for the rename of a file system. Credentials and endpoints come from the environment's variables, or from the machine's
role.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from cc_ray.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from obstore import ObjectMeta, UpdateVersion

PATIENCE_S: Final = 60.0
"""How long a request is repeated while the object store cannot be reached or says that it is busy, in seconds."""

AT_ONCE: Final = 32
"""Requests of one process at the same time, where there are many."""

_PART_BYTES: Final = 16 * 2**20
"""A larger object is sent in parts of this size, each of which is repeated by itself."""

_NO_BUCKET: Final = "there is no such bucket or container"

Tag: TypeAlias = "UpdateVersion"
"""What an object was when it was read; `swap` asks whether it still is."""


class UnreachableError(StoreUnavailableError):
    """An object store that does not answer."""


@dataclass(frozen=True)
class Found:
    """An object of a listing."""

    name: str
    size_bytes: int
    age_s: float
    """Since it was written, by this machine's clock."""


class Objects:
    """The objects below one URL; safe to use from any number of threads.

    Args:
        url: As `address.url_of` gives it.

    Raises:
        StoreError: If the library is not installed, or the environment's settings cannot be used; as every method, if
            the object store refuses, or does not answer for `PATIENCE_S`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            import obstore
            from obstore.store import from_url
        except ModuleNotFoundError:
            raise StoreError(f"{url} needs the extra `objects` of cc-ray: pip install 'obstore>=0.12,<0.13'.") from None
        self._api, self._errors = obstore, obstore.exceptions
        with self._naming():
            self._store = from_url(
                url,
                # An address without TLS is the choice of whoever set it as endpoint.
                client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "120s"},
                retry_config={
                    "max_retries": 1000,
                    "retry_timeout": timedelta(seconds=PATIENCE_S),
                    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
                },
            )

    def read(self, name: str) -> tuple[bytes, Tag]:
        """An object's content, and what it is now.

        Raises:
            FileNotFoundError: If there is none.
        """
        with self._naming():
            found = self._api.get(self._store, name)
            return bytes(found.bytes()), _tag(found.meta)

    def download(self, name: str, target: Path) -> None:
        """Write an object to a new file, and sync it.

        Raises:
            FileNotFoundError: If there is none.
        """
        with self._naming():
            found = self._api.get(self._store, name)
            with target.open("wb") as file:
                for piece in found.stream():
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())

    def size_bytes(self, name: str) -> int | None:
        """Length of an object; None if there is none."""
        found = self._head(name)
        return None if found is None else int(found["size"])

    def stamp(self, name: str) -> str:
        """A text that changes with an object; empty if there is none."""
        found = self._head(name)
        return "" if found is None else f"{found['e_tag']}-{found['version']}"

    def write(self, name: str, content: bytes | Path) -> None:
        """Write an object that nobody else writes, from memory or from a file."""
        with self._naming(missing=_NO_BUCKET):
            self._api.put(self._store, name, content, chunk_size=_PART_BYTES)

    def swap(self, name: str, content: bytes, tag: Tag | None) -> bool:
        """Write an object only if it is still what it was.

        Args:
            name: The object.
            content: Says which writer it is from: that tells a lost answer to a write of ours from another's write.
            tag: What it was; None if it is to be new.

        Returns:
            Whether it has this content now.
        """
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                with self._naming(missing=_NO_BUCKET):
                    self._api.put(self._store, name, content, mode=tag or "create", use_multipart=False)
                return True
            except (self._errors.AlreadyExistsError, self._errors.PreconditionError):
                pass
            except UnreachableError:
                # The library does not repeat what may have been done.
                if time.monotonic() > deadline:
                    raise
            found, now = self._read_if_there(name)
            if found == content:
                return True
            if now != tag or time.monotonic() > deadline:
                return False
            # Our write was lost, or refused because of another one that was refused as well.
            time.sleep(0.1)

    def listing(self, prefix: str) -> Iterator[Found]:
        """The objects below a folder, by name."""
        with self._naming():
            for chunk in self._api.list(self._store, prefix, chunk_size=1000):
                for found in chunk:
                    yield Found(found["path"], found["size"], time.time() - found["last_modified"].timestamp())

    def delete(self, names: Sequence[str]) -> None:
        """Remove objects; those that are not there are none to remove."""
        try:
            with self._naming():
                self._api.delete(self._store, names)
        except FileNotFoundError:
            # Some object stores tell of a missing one, and the rest is left.
            for name in names:
                with suppress(FileNotFoundError), self._naming():
                    self._api.delete(self._store, name)

    def _read_if_there(self, name: str) -> tuple[bytes | None, Tag | None]:
        try:
            return self.read(name)
        except FileNotFoundError:
            return None, None

    def _head(self, name: str) -> ObjectMeta | None:
        try:
            with self._naming():
                return self._api.head(self._store, name)
        except FileNotFoundError:
            return None

    @contextmanager
    def _naming(self, *, missing: str = "") -> Iterator[None]:
        """Give the library's errors a text that names the URL: its own shows the request, which may be signed."""
        try:
            yield
        except (self._errors.AlreadyExistsError, self._errors.PreconditionError):
            raise
        except FileNotFoundError:
            if missing:
                raise StoreError(f"{self.url}: {missing}.") from None
            raise FileNotFoundError(f"an object of {self.url}") from None
        except self._errors.BaseError as error:
            raise _explained(self.url, str(error)) from None


def _tag(found: ObjectMeta) -> Tag:
    tag: Tag = {}
    if found["e_tag"] is not None:
        tag["e_tag"] = found["e_tag"]
    if found["version"] is not None:
        tag["version"] = found["version"]
    return tag


def _explained(url: str, text: str) -> StoreError:
    status = re.search(r"status code: (\d+(?: [A-Z][A-Za-z-]+)*)", text)
    code = re.search(r"<Code>(\w+)</Code>", text)
    if status is None:
        return UnreachableError(
            f"{url} cannot be reached: its server does not answer, or the environment has no credentials for it."
        )
    said = f"{status[1]}, {code[1]}" if code else status[1]
    if status[1].startswith(("401", "403")):
        return StoreUnavailableError(f"{url} refuses the credentials of this environment ({said}).")
    return StoreUnavailableError(f"{url} refuses what was asked of it ({said}).")
