"""The rooms and the directions of imports, kept as the design has them."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "entry": (
        "cc_ray.api",
        "cc_ray.cli",
        "cc_ray.comparisons",
        "cc_ray.serve",
        "cc_ray.jobs",
        "cc_ray.notebook",
        "cc_ray.operating",
        "cc_ray.terminal",
    ),
    "orchestration": ("cc_ray.search", "cc_ray.trial"),
    "questions": ("cc_ray.compare", "cc_ray.views"),
    "work": ("cc_ray.compress", "cc_ray.evaluate", "cc_ray.tasks", "cc_ray.imports"),
    "storage": ("cc_ray.store",),
    "words": (
        "cc_ray.compiled",
        "cc_ray.recipe",
        "cc_ray.schema",
        "cc_ray.divergence",
        "cc_ray.overlap",
        "cc_ray.errors",
        "cc_ray.formats",
        "cc_ray.registry",
        "cc_ray.reports",
        "cc_ray.resources",
        "cc_ray.wording",
        "cc_ray.noise",
        "cc_ray.printing",
        "cc_ray.quiet",
        "cc_ray.stopping",
    ),
}
BELOW = {
    "entry": {"orchestration", "questions", "work", "storage", "words"},
    "orchestration": {"questions", "work", "storage", "words"},
    "questions": {"storage", "words"},
    "work": {"storage", "words"},
    "storage": {"words"},
    "words": set[str](),
}
HOMES = {
    "ray": {"entry", "orchestration"},
    "torch": {"work"},
    "torchao": {"work"},
    "torch_pruning": {"work"},
    "transformers": {"work"},
    "onnx": {"work"},
    "onnxruntime": {"work"},
    "onnxscript": {"work"},
    "executorch": {"work"},
    "tokenizers": {"work"},
    "duckdb": {"questions"},
    "obstore": {"storage"},
    "numba": {"words"},
    "typer": {"entry"},
    "rich": {"entry"},
    "panel": set[str](),
    "holoviews": set[str](),
    "bokeh": set[str](),
}
EXCEPTIONS = {
    ("cc_ray.store.artifacts", "torch"): "saves and loads modules",
    ("cc_ray.store.structure", "torch"): "changes modules",
    **{
        (f"cc_ray.store.exported.{kind}", "torch"): "stands in place of a module"
        for kind in ("base", "onnx", "torch_export", "executorch")
    },
    ("cc_ray.store.exported.onnx", "onnx"): "looks at exported programs before they run",
    ("cc_ray.store.exported.onnx", "onnxruntime"): "runs exported programs",
    ("cc_ray.store.exported.executorch", "executorch"): "runs exported programs",
    ("cc_ray.store.artifacts", "torchao"): "rebuilds quantized tensors",
    **{
        (f"cc_ray.store.low_bit.{kind}", "torch"): "tensors that compute in low bits"
        for kind in ("base", "float8", "int4", "int8")
    },
    ("cc_ray.serve.web", "panel"): "mounts the dashboard in the web server",
    ("cc_ray.serve.sockets", "bokeh"): "looks at the tokens of tabs",
}


def layer(module: str) -> str | None:
    return next(
        (name for name, rooms in LAYERS.items() for room in rooms if module == room or module.startswith(f"{room}.")),
        None,
    )


def modules(folder: str) -> list[tuple[str, Path]]:
    files = sorted((ROOT / folder).rglob("*.py"))
    return [(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), file) for file in files]


def imports(file: Path) -> Iterator[str]:
    """Names that a file imports while it runs, wherever in it; not those for type checkers alone."""
    tree = ast.parse(file.read_text())
    for_types = {id(child) for node in ast.walk(tree) if is_for_types(node) for child in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write the whole path of an import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize(("module", "file"), modules("cc_ray"), ids=lambda value: str(value).rsplit("/")[-1])
def test_imports_point_downwards(module: str, file: Path) -> None:
    if module == "cc_ray":
        return
    here = layer(module)
    assert here, f"{module} stands in no room: add it to LAYERS"
    for name in imports(file):
        there = layer(name)
        if name.startswith("cc_ray.") and there != here:
            assert there in BELOW[here], f"{module} ({here}) imports {name} ({there})"


@pytest.mark.parametrize(("module", "file"), modules("cc_ray"), ids=lambda value: str(value).rsplit("/")[-1])
def test_foreign_libraries_stay_in_their_homes(module: str, file: Path) -> None:
    for name in imports(file):
        library = name.split(".")[0]
        if library in HOMES and (module, library) not in EXCEPTIONS:
            assert layer(module) in HOMES[library], f"{module} imports {library}"


@pytest.mark.parametrize(("module", "file"), modules("dashboards"), ids=lambda value: str(value).rsplit("/")[-1])
def test_the_dashboard_asks_questions_and_nothing_deeper(module: str, file: Path) -> None:
    allowed = tuple(f"cc_ray.{name}" for name in ("compare", "views", "errors", "registry", "stopping", "wording"))

    for name in imports(file):
        assert name.split(".")[0] not in {"torch", "ray", "duckdb", "torchao", "transformers"}, f"{module}: {name}"
        if name.startswith("cc_ray"):
            assert name.startswith(allowed), f"{module} imports {name}"


@pytest.mark.parametrize("module", ["cc_ray", "cc_ray.cli", "cc_ray.recipe", "cc_ray.errors"])
def test_light_modules_stay_light(module: str) -> None:
    heavy = {"ray", "torch", "transformers", "duckdb", "panel", "holoviews", "pandas", "numpy", "pyarrow", "sklearn"}
    code = f"import {module}, sys; print(*sorted({heavy!r} & set(sys.modules)))"

    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)

    assert found.stdout.split() == []


def test_the_top_level_is_fixed() -> None:
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, check=False, cwd=ROOT)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in listed.stdout.splitlines()}

    rooms = {"cc_ray", "dashboards", "search_spaces", "cluster", "tests"}
    files = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}
    assert {name for name in top if not name.startswith(".")} <= rooms | files
