"""The page of studies: its pieces, and what a user does with it in a real browser."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

import cc_ray
from cc_ray import compare
from cc_ray.recipe import Recipe, Step
from cc_ray.search.records import TrialState
from cc_ray.store import Store
from cc_ray.views import open_views
from cc_ray.wording import format_value
from dashboards.pages.studies import _ask, _growth
from dashboards.snapshot import Snapshot, Source
from dashboards.state import short
from dashboards.studies.listing import listing
from dashboards.studies.report import Report, chosen_study, report
from dashboards.studies.summary import head, rest
from dashboards.studies.trials import PAGE, Order, filters, table
from tests.compare.small import START, TASK, add_model, new_store
from tests.dashboards.screen import Dashboard, Screen

PRUNED = Step("prune", {"sparsity": 0.5})


@pytest.fixture
def running(tmp_path: Path) -> Store:
    """A study under way: repeats over seeds, a failure of hostile words, an early stop, and trials that wait."""
    store = new_store(tmp_path, directions={"accuracy": "higher"})
    add_study(store, "s", "running")
    for seed, accuracy in enumerate((0.90, 0.92)):
        add_model(store, f"aaa{seed}", steps=[PRUNED], seed=seed, metrics={"accuracy": accuracy})
        add_trial(store, TrialState("s", Recipe("net", (PRUNED,), seed), "finished", model_id=f"aaa{seed}"))
    add_trial(store, TrialState("s", Recipe("net", (PRUNED,), 2), "failed", "<img src=x>", "<b>prune</b>"))
    add_trial(store, TrialState("s", Recipe("net", (PRUNED,), 3), "stopped", "worse than the median", str(PRUNED)))
    for seed in range(4, 4 + PAGE):
        add_trial(store, TrialState("s", Recipe("net", (PRUNED,), seed), "pending"))
    for number, decision in enumerate(("go", "stop")):
        add_report(store, number, decision)
    return store


def of(store: Store, study: str = "s") -> tuple[Snapshot, Report]:
    snapshot = Source(str(store.root)).snapshot
    row = chosen_study(snapshot, study)
    assert row
    return snapshot, report(snapshot, row)


def test_a_study_shows_its_trials_by_state_a_page_at_a_time(running: Store) -> None:
    snapshot, found = of(running)

    first, second = (table(found, "all", Order().page(offset), snapshot.models) for offset in (0, PAGE))
    assert (first.count("<tr"), second.count("<tr")) == (1 + PAGE, 1 + 4)
    assert "All 54" in filters(found, "all") and "Pending 50" in filters(found, "all")
    assert re.findall('data-model="([^"]+)"', table(found, "finished", Order(), snapshot.models)) == ["aaa1", "aaa0"]
    assert "No trial is running" in table(found, "running", Order(), snapshot.models)


def test_trials_are_sorted_by_any_column_and_back(running: Store) -> None:
    snapshot, found = of(running)
    order = Order().turned("recipe")

    def shown(order: Order) -> list[str]:
        return re.findall(r"seed (\d+)", table(found, "finished", order, snapshot.models))

    assert shown(order) == ["0", "1"]
    assert shown(order.turned("recipe")) == ["1", "0"]
    assert 'aria-sort="descending"' in table(found, "finished", order.turned("recipe"), snapshot.models)


def test_failures_early_stops_and_repeats_are_told_and_nothing_is_markup(running: Store) -> None:
    snapshot, found = of(running)

    said = head(snapshot, found) + rest(snapshot, found) + table(found, "all", Order(), snapshot.models)

    assert "<img" not in said and "<b>prune</b>" not in said
    assert "&lt;img src=x&gt;" in said
    assert "worse than the median" in said and "128 of calibration" in said
    assert "other seeds alone move it by <b>0.0141</b>" in said
    assert "4 of 54" in said
    assert "2 CPUs" in said


def test_what_steps_left_is_folded_with_their_trial(running: Store) -> None:
    run = {"run_id": "r", "model_id": "gone", "kind": "step", "study_id": "s", "outcome": "failed"}
    where = {"node": "n", "process": 1, "started_at": START, "duration_s": 1.0}
    left = {"reason": "<img src=x>", "printed": "<i>epoch 1</i>", "traceback": "Traceback: line 3"}
    running.publish("run", "r", {"step_runs": [{**run, **where, **left}]})
    snapshot, found = of(running)

    said = table(found, "failed", Order(), snapshot.models)

    assert "Traceback</summary>" in said and "line 3" in said and "&lt;i&gt;epoch 1" in said
    assert "<details" not in table(found, "finished", Order(), snapshot.models)


def test_trials_under_way_can_be_stopped_by_those_who_may(running: Store) -> None:
    snapshot, found = of(running)
    waits = next(row["trial_id"] for row in found.trials if row["state"] == "pending")

    assert "run-ask" not in table(found, "pending", Order(), snapshot.models)
    assert table(found, "all", Order(), snapshot.models, True).count('data-do="run-ask"') == PAGE - 4
    asked = table(found, "pending", Order(), snapshot.models, True, waits)
    assert f'data-do="run-stop" data-trial="{waits}"' in asked and "the next session tries it again" in asked


def test_a_study_says_why_it_ended_who_started_it_and_where_it_began(running: Store) -> None:
    told: dict[str, Any] = {"reason": "stopped by <Ann>", "started_by": "<Bob>", "branched_from": ["aaa0", "gone"]}
    add_study(running, "s", "stopped", later=99, **told)
    snapshot, found = of(running)

    said = head(snapshot, found)

    assert "stopped by &lt;Ann&gt;" in said and "&lt;Bob&gt;" in said
    assert 'data-do="open" data-model="aaa0"' in said and "gone" not in said


def test_the_best_model_of_each_objective_leads_to_it(snapshot: Snapshot) -> None:
    row = chosen_study(snapshot, "")
    assert row

    found = head(snapshot, report(snapshot, row))

    best = compare.study_best(snapshot.views, row["study_id"])["model_id"].to_pylist()
    assert re.findall('data-do="open" data-model="([^"]+)"', found) == best


def test_the_hypervolume_is_that_of_compare(snapshot: Snapshot) -> None:
    row = chosen_study(snapshot, "")
    assert row
    found = report(snapshot, row)
    grown = compare.hypervolume_history(snapshot.views, found.objectives, study=found.id, by="trial")

    said, drawn = _growth(snapshot, found)

    whole = format_value(grown["hypervolume"][-1].as_py(), "count")
    assert f"{whole} after {grown.num_rows} trials" in said
    assert drawn == grown


def test_a_study_without_models_or_objectives_says_so(tmp_path: Path) -> None:
    store = new_store(tmp_path)
    add_study(store, "empty", "running", objectives="{}")
    snapshot, found = of(store, "empty")

    said, drawn = _growth(snapshot, found)

    assert drawn is None and "No objective" in said
    assert "No trial has begun yet" in table(found, "all", Order(), {})


def test_a_study_that_was_imported_says_so_and_shows_what_is_known(tmp_path: Path) -> None:
    store = new_store(tmp_path, directions={"accuracy": "higher"})
    add_model(store, "aaaa", metrics={"accuracy": 0.9})
    add_study(store, store.read("models")["study_id"][0].as_py(), "finished")
    snapshot, found = of(store, store.read("models")["study_id"][0].as_py())

    said = head(snapshot, found)
    assert "imported" in said and "<dt>Imported</dt>" in said and "Trials ended" not in said
    assert 'data-model="aaaa"' in said
    assert "This study was imported, with 1 model and without trials" in table(found, "all", Order(), {})
    assert filters(found, "all") == "" and "Where it ran" not in rest(snapshot, found)
    assert "none" in listing(snapshot, {}, found.id) and "0 of 0" not in listing(snapshot, {}, found.id)


def test_a_store_without_studies_and_an_unknown_study_say_what_to_do(tmp_path: Path, snapshot: Snapshot) -> None:
    empty = Source(str(new_store(tmp_path).root)).snapshot

    assert "cc-ray run" in _ask(empty, "").studies
    assert "came without one" not in _ask(empty, "").studies
    bare = cc_ray.open(tmp_path / "bare", create=True)
    bare.log_model("net", task="t", metrics={"accuracy": 0.9})
    assert "Its models came without one" in _ask(Source(str(tmp_path / "bare")).snapshot, "").studies
    asked = _ask(snapshot, "<nothing>")
    assert asked.found is None
    assert "no study “&lt;nothing&gt;”" in asked.head


@pytest.mark.browser
def test_trials_are_looked_at_and_one_leads_to_its_model(screen: Screen, dashboard: Dashboard) -> None:
    screen.open("?page=studies")
    rows = screen.page.locator(".trials-table tbody tr")
    expect(rows.first).to_be_visible(timeout=60_000)
    expect(screen.page.locator(".report-card canvas").first).to_be_visible(timeout=60_000)

    screen.page.get_by_role("button", name=re.compile("Failed")).click()
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text("loss is NaN after epoch 1")
    screen.page.wait_for_function("() => location.search.includes('trials=failed')")
    screen.page.get_by_role("button", name=re.compile("All")).click()
    screen.page.get_by_role("button", name="Recipe").click()
    expect(screen.page.locator("th[aria-sort=ascending]")).to_contain_text("Recipe")

    row = screen.page.locator(".trials-table tr[data-do=open]").first
    id = row.get_attribute("data-model")
    row.focus()
    row.press("Enter")

    expect(screen.page.locator(".details .facts")).to_contain_text(id or "", timeout=60_000)
    assert screen.addressed() == [short(id or "")]


@pytest.mark.browser
def test_a_study_that_begins_appears_and_moves_while_it_is_looked_at(screen: Screen, dashboard: Dashboard) -> None:
    screen.open("?page=studies&study=late")
    expect(screen.page.locator(".report-card .failure")).to_contain_text("no study “late”", timeout=60_000)

    add_study(dashboard.store, "late", "running")
    expect(screen.page.locator(".report-card h2")).to_contain_text("late", timeout=60_000)
    expect(screen.page.locator(".trials-card .empty")).to_contain_text("No trial has begun yet")
    add_trial(dashboard.store, TrialState("late", Recipe("net"), "running"))
    expect(screen.page.locator(".trials-table tbody .state")).to_have_text("running", timeout=60_000)
    add_trial(dashboard.store, TrialState("late", Recipe("net"), "failed", "out of memory"), later=5)
    expect(screen.page.locator(".trials-table tbody .state")).to_have_text("failed", timeout=60_000)

    add_study(dashboard.store, "late", "finished", later=9)
    screen.page.locator(".studies-table tr", has_text="digits").click()
    expect(screen.page.locator(".report-card h2")).to_contain_text("digits", timeout=60_000)
    assert len(open_views(dashboard.store.root).sql("FROM studies")) == 2


def add_study(
    store: Store,
    id: str,
    state: str,
    *,
    objectives: str = '{"accuracy": "higher"}',
    later: int = 0,
    **told: Any,
) -> None:
    at = START + timedelta(seconds=later)
    row = {"study_id": id, "state": state, "task_id": TASK, "search_space": "{}", "objectives": objectives}
    row["environment"] = '{"device": "cpu", "cluster": {"CPU": 2.0, "memory": 8e9}}'
    times = {"started_at": START, "finished_at": None if state == "running" else at, "at": at}
    store.publish("study", f"{id}-{state}", {"studies": [{**row, **times, **told, "code_version": "1"}]})


def add_trial(store: Store, trial: TrialState, *, later: int = 0) -> None:
    row = trial.to_row(START + timedelta(seconds=later))
    store.publish("trial", f"{trial.trial_id}-{trial.state}", {"trials": [row]})


def add_report(store: Store, number: int, decision: str) -> None:
    row: dict[str, Any] = {"model_id": "bad", "name": "net → prune()", "study_id": "s", "task_id": TASK, "epoch": 0}
    seen = {"split": "calibration", "n": 128, "metric": "accuracy", "value": 0.5, "size_bytes": 1}
    at, reason = START + timedelta(seconds=number), "worse than the median" if decision == "stop" else None
    rows = [{**row, **seen, "decision": decision, "reason": reason, "at": at}]
    store.publish("report", f"r{number}", {"reports": rows})
