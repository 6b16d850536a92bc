"""What holds for all files of `cluster/`."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cluster.files import CLUSTER, ROOT

FILES = sorted(path.name for path in CLUSTER.iterdir() if path.is_file() and path.name != "README.md")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", FILES)
def test_the_readme_tells_of_every_file(name: str) -> None:
    assert f"`{name}`" in (CLUSTER / "README.md").read_text()


@pytest.mark.parametrize("name", FILES)
def test_a_file_says_when_to_use_it_and_what_it_costs(name: str) -> None:
    comments = "\n".join(line for line in (CLUSTER / name).read_text().splitlines() if line.startswith("#"))

    assert name == "Dockerfile" or ("# When: " in comments and "# Cost: " in comments)


@pytest.mark.parametrize("name", FILES)
def test_versions_are_those_of_the_project(name: str) -> None:
    text = (CLUSTER / name).read_text()
    wanted = dict(re.findall(r"^([^=<>]+)[=>]=([^,\n]+)", "\n".join(PROJECT["dependencies"]), re.MULTILINE))

    for version in re.findall(r"rayproject/ray:([\d.]+)-py311|rayVersion: ([\d.]+)", text):
        assert "".join(version).startswith(wanted["ray[tune,serve]"])
    assert set(re.findall(r"torch==([\d.]+)", text)) <= {wanted["torch"]}
    assert set(re.findall(r"(?:image:|-t) cc-ray:([\d.]+\d)", text)) <= {PROJECT["version"]}


def test_the_image_is_given_all_that_the_package_is_built_of(tmp_path: Path) -> None:
    for copied in re.findall(r"^COPY \S+ (.+)$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE):
        *sources, target = copied.split()
        for source in (ROOT / name for name in sources):
            if source.is_dir():
                shutil.copytree(source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tmp_path / target)

    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel"], cwd=tmp_path, check=True)
