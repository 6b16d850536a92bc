"""The wheel holds all that a user needs who has no checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


@pytest.mark.parametrize(
    "pattern", ["cc_ray/views/sql/*.sql", "cc_ray/**/*.py", "dashboards/**/*", "search_spaces/*.py", "cluster/*"]
)
def test_every_file_of_a_room_travels(wheel: Path, pattern: str) -> None:
    here = {str(path.relative_to(ROOT)) for path in ROOT.glob(pattern) if path.is_file() and path.suffix != ".pyc"}

    assert here
    assert here <= set(zipfile.ZipFile(wheel).namelist())


def test_tests_and_dotfiles_stay_at_home(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "cc_ray",
        "dashboards",
        "search_spaces",
        "cluster",
    }


def test_an_installed_wheel_works_from_any_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    code = """if True:
        import sys, cc_ray, dashboards.app, search_spaces
        assert cc_ray.__file__.startswith(sys.argv[1]), cc_ray.__file__
        from cc_ray.cli import main
        sys.argv[1:] = ["plan", "digits"]
        main()
        """

    ran = subprocess.run(
        [sys.executable, "-c", code, site],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )

    assert ran.returncode == 0, ran.stderr
    assert "distinct models" in ran.stdout
