"""The files of `cluster/`, read."""

from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

ROOT = Path(__file__).parent.parent.parent
CLUSTER = ROOT / "cluster"


def read(name: str) -> Any:
    """The document of a YAML file."""
    return yaml.safe_load((CLUSTER / name).read_text())
