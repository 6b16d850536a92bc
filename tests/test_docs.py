"""What the README says is there, and what is there the README says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cc_ray import cli
from cc_ray.compress import operations
from cc_ray.search.load import load_space
from cc_ray.search.plan import plan
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


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_every_link_leads_somewhere(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target).exists()
