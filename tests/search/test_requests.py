"""Studies and trials that somebody stops while they run, on a small real cluster."""

from pathlib import Path
from typing import Any

import pytest

from cc_ray.recipe import trial_id
from cc_ray.search import SearchSpace, choice, recipe, step
from cc_ray.search import requests as inbox
from cc_ray.search.progress import Progress
from cc_ray.search.requests import Inbox, Request, ask
from cc_ray.search.sampling import listed
from cc_ray.search.tuner import explore
from cc_ray.store import Store

LONG = step("fine_tune", epochs=choice(400, 401))


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_EVERY_S", 0.0)


def space(*steps: Any) -> SearchSpace:
    return SearchSpace("s", "digits", [recipe("resnet", list(steps))], baselines=False)


def test_an_inbox_gives_what_came_since_it_was_made_once(root: Path | str) -> None:
    store = Store(root, create=True)
    ask(store, Request("s", by="before"))
    found = Inbox(store, "s")

    ask(store, Request("s", "t", "Ann"))
    ask(store, Request("other"))

    assert found.new() == [Request("s", "t", "Ann")]
    assert found.new() == []
    assert (Request("s", by="Ann").reason, Request("s").reason) == ("stopped by Ann", "stopped by an operator")


@pytest.mark.usefixtures("ray_cluster")
def test_one_trial_is_stopped_and_the_others_go_on(digits_store: Store) -> None:
    short = SearchSpace(
        "s",
        "digits",
        [recipe("resnet", [step("fine_tune", epochs=4000)]), recipe("resnet", [step("calibrate")])],
        baselines=False,
    )
    long = next(each for each in listed(short) if each.steps[0].operation == "fine_tune")
    asked: list[str] = []

    def stop_the_long_one(progress: Progress) -> None:
        # Nothing is timed, and no trial ends, while the long step is under way.
        if progress.models_running == 2 and not asked:
            asked.append(trial_id("s", long))
            ask(digits_store, Request("s", asked[0], "Ann"))

    summary = explore(short, digits_store, on_progress=stop_the_long_one)

    assert (summary.state, summary.progress.trials_done, summary.progress.trials_stopped) == ("finished", 1, 1)
    last = {row["recipe_text"]: row for row in digits_store.read("trials").sort_by("at").to_pylist()}
    row = last[str(long)]
    assert (row["state"], row["reason"]) == ("stopped", "stopped by Ann")
    assert not digits_store.has("step", long.model_ids(row_task(digits_store))[-1])


@pytest.mark.usefixtures("ray_cluster")
def test_a_study_is_stopped_by_name_and_can_be_gone_on_with(digits_store: Store) -> None:
    asked: list[Request] = []

    def stop(progress: Progress) -> None:
        if progress.models_running and not asked:
            asked.append(Request("s", by="Ann"))
            ask(digits_store, asked[0])

    summary = explore(space(LONG), digits_store, on_progress=stop, started_by="Bob")

    assert (summary.state, summary.reason, summary.interrupted) == ("stopped", "stopped by Ann", True)
    row = digits_store.read("studies").sort_by("at").to_pylist()[-1]
    assert (row["state"], row["reason"], row["started_by"]) == ("stopped", "stopped by Ann", "Bob")


def row_task(store: Store) -> str:
    return str(store.read("studies").to_pylist()[0]["task_id"])
