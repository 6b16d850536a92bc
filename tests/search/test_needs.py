import pytest

from cc_ray.compress import operations
from cc_ray.errors import InvalidRecipeError
from cc_ray.resources import Resources
from cc_ray.search import SearchSpace, recipe
from cc_ray.search.needs import needs_of, options, without_node

GPU = Resources(gpus=0.5, memory_bytes=2_000_000_000, custom={"fast_disk": 1}, accelerator_type="H100")


def space(**resources: Resources) -> SearchSpace:
    return SearchSpace("s", "digits", [recipe("resnet")], resources=resources)


def test_the_space_goes_before_the_operation_and_that_before_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    used = ["fine_tune", "calibrate", "magnitude_pruning"]
    monkeypatch.setattr(operations["calibrate"], "resources", Resources(cpus=2))

    found = needs_of(space(fine_tune=GPU), used)

    assert found == {
        "fine_tune": GPU,
        "calibrate": Resources(cpus=2),
        **dict.fromkeys(("magnitude_pruning", "train base", "latency"), Resources()),
    }
    assert all(asked == GPU for asked in needs_of(space(**{"*": GPU}), used).values())


def test_resources_of_what_is_not_used_are_refused() -> None:
    with pytest.raises(InvalidRecipeError, match=r"'resources' names 'fine_tun'; allowed: '\*', fine_tune"):
        needs_of(space(fine_tun=GPU), ["fine_tune"])


@pytest.mark.parametrize("wrong", [{"cpus": -1}, {"gpus": float("nan")}, {"gpus": 1.5}, {"custom": {"disk": "much"}}])
def test_amounts_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidRecipeError, match="resources: "):
        Resources(**wrong)  # type: ignore[arg-type]


def test_what_no_node_can_take_is_found() -> None:
    here = {"CPU": 8.0, "GPU": 1.0, "memory": 8e9, "accelerator_type:H100": 1.0, "fast_disk": 1.0}
    needs = {"fine_tune": GPU, "calibrate": Resources()}

    assert without_node(needs, [{"CPU": 1.0}, here]) == {}
    assert without_node(needs, [{**here, "GPU": 0.0}, {"CPU": 64.0, "GPU": 8.0}]) == {"fine_tune": GPU}


def test_they_become_options_of_a_ray_task_and_survive_json() -> None:
    assert options(GPU) == {
        "num_cpus": 1.0,
        "num_gpus": 0.5,
        "memory": 2_000_000_000,
        "resources": {"fast_disk": 1},
        "accelerator_type": "H100",
    }
    assert SearchSpace.from_json(space(fine_tune=GPU).to_json()).resources == {"fine_tune": GPU}
