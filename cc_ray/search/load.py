"""Finds a search space by the path of its file or by its name."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

from cc_ray.errors import CcRayError, InvalidRecipeError, UnknownSearchSpaceError
from cc_ray.search.space import SearchSpace

_PACKAGE: Final = "search_spaces"
"""Imported by name: the library itself depends on none of its modules."""


def load_space(name_or_path: str) -> SearchSpace:
    """Load a search space.

    Args:
        name_or_path: Path of a Python file (it ends in `.py`), or the name of a module of the package `search_spaces`.

    Raises:
        InvalidRecipeError: If the file cannot be run, has no `search_space()`, or that does not give a `SearchSpace`.
        UnknownSearchSpaceError: If there is no module of that name.
    """
    if name_or_path.endswith(".py"):
        return _space_of(_run_file(Path(name_or_path).expanduser()), name_or_path)
    names = space_names()
    if name_or_path not in names:
        raise UnknownSearchSpaceError(name_or_path, names)
    with _told(name_or_path):
        module = importlib.import_module(f"{_PACKAGE}.{name_or_path}")
    return _space_of(module, name_or_path)


def space_names() -> list[str]:
    """Names of the search spaces that are installed, in order."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(_PACKAGE).__path__))


def _run_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InvalidRecipeError(f"there is no search-space file {path}; installed ones: {', '.join(space_names())}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InvalidRecipeError(f"{path} cannot be read as Python.")
    module = importlib.util.module_from_spec(spec)
    with _told(str(path)):
        spec.loader.exec_module(module)
    return module


def _space_of(module: ModuleType, place: str) -> SearchSpace:
    function = getattr(module, "search_space", None)
    if not callable(function):
        raise InvalidRecipeError(f"{place} has no function search_space(); it has to return a SearchSpace.")
    with _told(place):
        space = function()
    if not isinstance(space, SearchSpace):
        raise InvalidRecipeError(f"{place}: search_space() returned {type(space).__name__}, not a SearchSpace.")
    return space


@contextmanager
def _told(place: str) -> Iterator[None]:
    """Tell in one line what a user's file raises, which may be anything."""
    try:
        yield
    except CcRayError as error:
        raise InvalidRecipeError(f"{place}: {error}") from error
    except SyntaxError as error:
        file = Path(error.filename or place).name
        raise InvalidRecipeError(f"{place} raised SyntaxError: {error.msg} ({file}, line {error.lineno}).") from error
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InvalidRecipeError(f"{place} raised {said} ({Path(last.filename).name}, line {last.lineno}).") from error
