import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import ray
from ray.actor import ActorHandle

from cc_ray.compress import validated_recipe
from cc_ray.recipe import Recipe, Step
from cc_ray.search.steps import release_actor, steps_actor
from cc_ray.search.waiting import complete
from cc_ray.search.work import Job
from cc_ray.store import Store
from cc_ray.tasks.digits import Digits


@pytest.fixture(autouse=True)
def actor(ray_cluster: None, digits_store: Store) -> Iterator[ActorHandle]:
    """The store's actor, held by this process as a driver holds it."""
    yield steps_actor(str(digits_store.root))
    release_actor(str(digits_store.root))


TASK = Digits()
PRUNE = Step("magnitude_pruning", {"sparsity": 0.5})
BITS = [Step("uniform_quantization", {"bits": bits}) for bits in (3, 4, 8)]


def job(store: Store, *steps: Step, session: str = "one") -> Job:
    recipe = validated_recipe(Recipe("resnet", steps), TASK.bases)
    return Job(str(store.root), TASK.to_json(), TASK.task_id, recipe, "s", session)


def runs(store: Store) -> list[str]:
    """Models for which a step was executed, once for each execution."""
    return [row["model_id"] for row in store.read("step_runs").to_pylist() if row["kind"] == "step"]


def test_a_step_that_several_trials_need_at_once_runs_once(digits_store: Store, actor: ActorHandle) -> None:
    with ThreadPoolExecutor() as pool:
        chains = list(pool.map(lambda bits: complete(job(digits_store, PRUNE, bits)), [*BITS, *BITS]))

    assert len(runs(digits_store)) == len(set(runs(digits_store))) == 1 + 1 + 3
    assert sum(chain.made for chain in chains) == 4
    assert all(chain.made + chain.reused == 3 and not chain.failure for chain in chains)
    assert ray.get(actor.beat.remote("")).ready == 0


def test_a_failed_step_fails_what_follows_and_is_not_tried_again_in_its_session(digits_store: Store) -> None:
    nowhere = Step("magnitude_pruning", {"sparsity": 0.5, "include": ["nowhere"]})
    before = len(runs(digits_store))

    first = complete(job(digits_store, nowhere, BITS[0]))
    second = complete(job(digits_store, nowhere, BITS[1]))

    assert first.failure and second.failure
    assert "nowhere" in first.failure.failed_step and "nowhere" in first.failure.reason
    assert second.failure == first.failure
    assert len(runs(digits_store)) == before + 1
    assert complete(job(digits_store, nowhere, BITS[1], session="two")).failure
    assert len(runs(digits_store)) == before + 2


def test_a_lost_actor_is_replaced_and_nothing_is_lost(digits_store: Store, actor: ActorHandle) -> None:
    with ThreadPoolExecutor() as pool:
        chain = pool.submit(complete, job(digits_store, Step("fine_tune", {"epochs": 20}), BITS[0]))
        while not ray.get(actor.beat.remote("")).ready:
            pass
        ray.kill(actor)

        assert chain.result().failure is None

    assert len(runs(digits_store)) == len(set(runs(digits_store)))


def test_the_store_is_believed_more_than_the_actor(digits_store: Store) -> None:
    complete(job(digits_store, PRUNE))
    shutil.rmtree(digits_store.layout.batch("step", job(digits_store, PRUNE).recipe.model_ids(TASK.task_id)[1]))

    chain = complete(job(digits_store, PRUNE))

    assert (chain.made, chain.reused) == (1, 1)
    assert len(runs(digits_store)) == 3
