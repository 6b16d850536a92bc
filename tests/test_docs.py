"""What the README says is there, and what is there the README says."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cc_ray import cli, search
from cc_ray.compress import operations
from cc_ray.search.load import load_space
from cc_ray.search.plan import plan
from cc_ray.search.sampling import task_of
from cc_ray.terminal.answers import operations_markdown
from tests.benchmarks.make_store import make_store

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_every_verb_is_shown() -> None:
    verbs = {command.name or command.callback.__name__ for command in cli.app.registered_commands if command.callback}

    assert {verb for verb in verbs if f"cc-ray {verb}" in README} == verbs


def test_the_table_of_operations_is_made_from_them() -> None:
    between = README.partition("<!-- operations")[2].partition("-->\n")[2].partition("<!-- /operations")[0]

    assert between.strip() == operations_markdown(operations.items()).strip(), (
        "make it anew with `cc-ray operations --markdown`"
    )


def test_the_notebook_code_runs(tmp_path: Path) -> None:
    make_store(tmp_path / "cc-ray-store", models=12, instances=100)
    code = next(block for block in python_blocks() if "cc_ray.open" in block)

    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=tmp_path)

    assert ran.returncode == 0, ran.stderr


def test_the_search_space_plans(tmp_path: Path) -> None:
    file = tmp_path / "space.py"
    file.write_text(next(block for block in python_blocks() if "def search_space" in block))

    planned = plan(load_space(str(file)), None)

    # Those written down, and the baselines of two base models.
    assert planned.trials == 16 + 2 * 7


def test_the_task_of_ones_own_keeps_to_what_every_task_does(tmp_path: Path) -> None:
    info = tmp_path / "wines-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wines\nVersion: 1.0\n")
    (announced,) = tomllib.loads(re.findall(r"```toml\n(.*?)```", README, re.DOTALL)[0])["project"][
        "entry-points"
    ].items()
    (info / "entry_points.txt").write_text(f"[{announced[0]}]\n" + "\n".join(map(" = ".join, announced[1].items())))
    (tmp_path / "wines.py").write_text(next(block for block in python_blocks() if "class Wines" in block))
    suite = str(ROOT / "tests" / "tasks" / "test_conformance.py")
    path = os.pathsep.join([str(tmp_path), *sys.path])

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", suite, "-q", "-k", "wines", "-p", "no:cacheprovider"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )

    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("task", ["image_classification", "tabular_classification"])
def test_fields_of_the_shown_tasks_are_valid(task: str) -> None:
    code = next(block for block in python_blocks() if f'task="{task}"' in block)

    space = eval(code, vars(search))

    assert task_of(space).bases


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_leads_somewhere(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target).exists()
