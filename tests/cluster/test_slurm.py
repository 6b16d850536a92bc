import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cc_ray.store import Store
from tests.cluster.files import CLUSTER
from tests.cluster.processes import SPACE, environment

SCRIPT = CLUSTER / "slurm.sh"
SRUN = """#!/usr/bin/env bash
# One of the nodes is as good as another: all are this machine.
echo "$@" >> "$SRUN_LOG"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/usr/bin/env bash
[[ $* == "show hostnames node[1-2]" ]] && printf 'node1\\nnode2\\n'
"""


def test_bash_reads_the_script() -> None:
    subprocess.run(["bash", "-n", SCRIPT], check=True)


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_finds_nothing() -> None:
    subprocess.run(["shellcheck", SCRIPT], check=True)


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [([], {}, "name a search space"), (["digits"], {}, "name a folder of the shared file system")],
)
def test_what_is_missing_is_said_first(arguments: list[str], env: dict[str, str], said: str) -> None:
    ran = subprocess.run(["bash", SCRIPT, *arguments], env=environment(**env), capture_output=True, text=True)

    assert ran.returncode == 1 and said in ran.stderr


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job of two nodes, where stand-ins of Slurm run everything on this machine."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    env = environment(
        SLURM_JOB_ID=str(os.getpid()),
        SLURM_JOB_NODELIST="node[1-2]",
        SLURM_CPUS_PER_TASK="1",
        SRUN_LOG=str(tmp_path / "srun.log"),
        CC_RAY_HEAD_IP="127.0.0.1",
        CC_RAY_STORE=str(tmp_path / "store"),
    )
    return {**env, "PATH": f"{programs}{os.pathsep}{env['PATH']}"}


@pytest.mark.slow
def test_a_study_runs_on_the_nodes_of_the_job(slurm: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "space.py").write_text(SPACE)
    try:
        ran = subprocess.run(["bash", SCRIPT, "space.py"], env=slurm, cwd=tmp_path, capture_output=True, text=True)
    finally:
        shutil.rmtree(f"/tmp/ray-{slurm['SLURM_JOB_ID']}", ignore_errors=True)

    assert ran.returncode == 0, ran.stdout + ran.stderr
    study = Store(tmp_path / "store").read("studies").sort_by("at").to_pylist()[-1]
    assert study["state"] == "finished"
    head, workers = (tmp_path / "srun.log").read_text().splitlines()
    assert head.startswith("--nodes=1 --ntasks=1 --cpus-per-task=1 --nodelist=node1 ray start --head ")
    assert workers.startswith("--nodes=1 --ntasks=1 --cpus-per-task=1 --nodelist=node2 ray start --address=127.0.0.1:")
