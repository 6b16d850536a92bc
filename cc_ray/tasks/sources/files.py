"""Addresses of files: a file, a folder, a pattern, or a repository of the Hugging Face hub.

    data/train.parquet                                    a file
    data/flowers                                          a folder, with all files in it
    data/train-*.parquet                                  all files that fit, in order of name
    hf://datasets/uoft-cs/cifar10/plain_text/test-*       files of a data set of the hub; `@REVISION` after its name
    hf://google/vit-base-patch16-224/*.safetensors        files of a model of the hub

What is on the hub is fetched once and kept where `huggingface_hub` keeps it. Nothing that is fetched is executed.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from cc_ray.errors import InvalidRecipeError

HUB: Final = "hf://"
_ON_HUB: Final = re.compile(
    r"hf://(?P<datasets>datasets/)?(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*?)"
    r"(@(?P<revision>[\w.-]+))?(/(?P<pattern>.+))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Files:
    """What an address leads to."""

    root: Path
    """A folder above all of them."""
    paths: tuple[Path, ...]
    """At least one, in order of name."""


def located(address: str) -> Files:
    """Find the files of an address; hidden ones are left out.

    Raises:
        InvalidRecipeError: If there are none, or the hub does not give them.
    """
    if address.startswith(HUB):
        return _on_hub(address)
    root = Path(address).expanduser()
    if root.is_dir():
        found = _inside(root)
    elif root.is_file():
        root, found = root.parent, (root,)
    else:
        found = tuple(sorted(path for path in map(Path, glob.glob(str(root))) if path.is_file()))
        root = root.parent
    if not found:
        raise InvalidRecipeError(f"there is no file at '{address}' (looked from {Path.cwd()}): give its whole path.")
    return Files(root, found)


def fingerprint(addresses: Iterable[str]) -> str:
    """SHA-256 over the content of all files of some addresses and, in folders, their names; not over where they lie.

    Files are read in pieces, and each once by a process as long as it does not change.
    """
    digest = hashlib.sha256()
    for address in addresses:
        files = located(address)
        for path in files.paths:
            name = path.relative_to(files.root).as_posix() if len(files.paths) > 1 else ""
            digest.update(f"{len(files.paths)} {name} {_digest_of(path)}\n".encode())
    return digest.hexdigest()


def _digest_of(path: Path) -> str:
    seen = path.stat()
    return _digest(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=1_000_000)
def _digest(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inside(root: Path) -> tuple[Path, ...]:
    """All files below a folder that are not hidden and in no hidden folder."""
    found = (path for path in root.rglob("*") if path.is_file())
    return tuple(sorted(path for path in found if not any(part[0] == "." for part in path.relative_to(root).parts)))


def _on_hub(address: str) -> Files:
    # Imported here: it takes a while, and only such addresses need it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    asked = _ON_HUB.fullmatch(address)
    if asked is None:
        raise InvalidRecipeError(f"'{address}' is no address of the hub: write hf://datasets/OWNER/NAME/FILES.")
    pattern = asked["pattern"] or "*"
    try:
        folder = snapshot_download(
            asked["name"],
            repo_type="dataset" if asked["datasets"] else "model",
            revision=asked["revision"],
            allow_patterns=pattern,
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        said = " ".join(str(error).split())
        raise InvalidRecipeError(f"the hub does not give '{address}': {said}") from error
    root = Path(folder)
    found = _inside(root) if asked["pattern"] is None else tuple(sorted(filter(Path.is_file, root.glob(pattern))))
    if not found:
        raise InvalidRecipeError(f"'{asked['name']}' on the hub has no file '{pattern}'.")
    return Files(root, found)
