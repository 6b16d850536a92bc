"""What `ray up cluster/on_premise.yaml` starts on its machines, and `serve run cluster/serve.yaml` there."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]
from ray._private.services import get_node_ip_address

from cc_ray.store import Store
from tests.cluster.files import read
from tests.cluster.processes import environment, free_port, running, short_folder, wait_for

HERE = get_node_ip_address()
CPUS_BY_NODE = """
import json, sys
from ray._raylet import GcsClient

nodes = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=30).values()
print(json.dumps(sorted(node.resources_total.get("CPU", 0) for node in nodes)))
"""


def local(command: str, port: int, store: Path) -> str:
    """A command of the file, for this machine: no virtual environment, no other machines, another port and store."""
    for there, here in (("~/cc-ray-env/bin/", "exec "), ("6379", str(port)), ("/mnt/cc-ray/store", str(store))):
        command = command.replace(there, here)
    return re.sub(r" --autoscaling-config=\S+", "", command) + " --block"


def ask(code: str, address: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, address], env=env, capture_output=True, text=True)


def answers(url: str, said: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return said in answer.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.mark.slow
def test_a_cluster_starts_lets_nobody_in_without_the_token_and_shows_a_store(tmp_path: Path) -> None:
    config, port, log = read("on_premise.yaml"), free_port(), tmp_path / "log"
    store = Store(tmp_path / "store", create=True).layout.root
    env = environment(RAY_HEAD_IP=HERE)
    served = read("serve.yaml")
    served["http_options"]["port"] = free_port()
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(served))
    url = f"http://127.0.0.1:{served['http_options']['port']}"
    head, worker = (local(config[f"{kind}_start_ray_commands"][-1], port, store) for kind in ("head", "worker"))

    with short_folder() as folder, running(f"{head} --include-dashboard=false --temp-dir={folder}", env, log) as first:
        wait_for(lambda: log.read_text().count("Ray runtime started") == 1, first, log)
        with running(f"{worker} --num-cpus=1 --temp-dir={folder}", env, log) as second:
            wait_for(lambda: log.read_text().count("Ray runtime started") == 2, second, log)

            assert json.loads(ask(CPUS_BY_NODE, f"{HERE}:{port}", env).stdout) == [0, 1]
            assert "AuthenticationError" in ask(CPUS_BY_NODE, f"{HERE}:{port}", environment()).stderr

            serve = f"CC_RAY_STORE={store} exec serve run --address {HERE}:{port} {tmp_path}/serve.yaml"
            with running(serve, env, log) as third:
                wait_for(lambda: answers(f"{url}/healthz", "ok"), third, log)
                assert answers(f"{url}/", "<html") and answers(f"{url}/api/openapi.json", "/v1/sql")
