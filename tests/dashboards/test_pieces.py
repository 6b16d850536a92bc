"""The HTML of the pages: says what compare answers, and lets nothing from a store through as markup."""

import re

import pytest

from cc_ray import compare
from cc_ray.errors import UnknownNameError
from dashboards import markup
from dashboards.app import navigation, status, welcome
from dashboards.behaviour.asked import Asked
from dashboards.behaviour.outcomes import moves
from dashboards.behaviour.sums import sums
from dashboards.chosen import Chosen
from dashboards.details import card, details, findings
from dashboards.gallery import PAGE, gallery, payload
from dashboards.legend import legend
from dashboards.page import Page, pages
from dashboards.snapshot import Metric, Snapshot

ACCURACY = Metric("accuracy", "Accuracy", "", "higher", 0.0, 1.0, "percent", True, "")


def against_base(snapshot: Snapshot, count: int) -> Chosen:
    ids = [id for id, row in snapshot.models.items() if row["parent"]][:count]
    return Chosen(tuple(ids), snapshot.models[ids[0]]["root"], True)


def asked(snapshot: Snapshot, now: Chosen) -> Asked:
    return Asked(snapshot, now, "correct", "difference", None, "", {})


@pytest.mark.parametrize(("name", "kind"), pages.items())
def test_every_page_says_what_it_is(name: str, kind: type[Page]) -> None:
    assert kind.title
    assert kind.__doc__
    assert f'data-do="{name}"' in navigation("overview")


def test_pages_have_their_own_places() -> None:
    assert len({kind.order for _, kind in pages.items()}) == len(pages.items())


def test_an_unknown_page_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'layers'"):
        pages["layer"]


def test_nothing_selected_recommends_the_front(snapshot: Snapshot) -> None:
    front = compare.recommendations(snapshot.views, ["accuracy", "size_bytes", "latency_p50_ms"])

    found = details(snapshot, [])

    assert re.findall('<tr data-do="select" data-model="([^"]+)"', found) == front["model_id"].to_pylist()
    assert "trial" not in found, "studies have a page of their own"


def test_a_card_tells_of_the_model_and_its_difference_to_parent_and_base(snapshot: Snapshot) -> None:
    id = next(id for id, row in snapshot.models.items() if row["step_index"] == 2)

    found = card(snapshot, id)

    assert id in found
    assert snapshot.models[id]["parent"] in found
    assert all(metric.label in found for metric in snapshot.primary)


@pytest.mark.parametrize("count", [2, 5, 24])
def test_any_number_of_models_has_a_row_and_a_bar_a_metric(snapshot: Snapshot, count: int) -> None:
    ids = list(snapshot.models)[:count]

    found = details(snapshot, ids)

    assert sorted(re.findall('<tr data-do="select" data-model="([^"]+)"', found)) == sorted(ids)
    assert found.count('class="track"') == count * len(snapshot.primary)


def test_of_very_many_models_a_part_is_shown_that_goes_through_all(
    snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.differences.MOST", 4)
    ids = list(snapshot.models)[:10]

    found = details(snapshot, ids)

    assert found.count('<tr data-do="select"') == 4 and "Of every 3 models" in found and "10 models" in found


def test_findings_name_the_model_where_there_are_several(snapshot: Snapshot) -> None:
    noticed = compare.findings(snapshot.views).to_pylist()
    name = snapshot.labels.name(noticed[0]["model_id"])

    assert name in findings(snapshot, noticed)
    assert noticed[0]["message"] in findings(snapshot, noticed[:1])
    assert name not in findings(snapshot, noticed[:1])
    assert findings(snapshot, []) == ""
    # Not as a class: "info" is one of the page's own, a small mark.
    assert 'data-severity="info"' in findings(snapshot, [{**noticed[0], "severity": "info"}])


def test_behaviours_are_summed_by_model(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 3)
    rows = compare.behaviours(snapshot.views, now.ids, now.base).to_pylist()

    found = sums(asked(snapshot, now), rows)

    assert found.count("<tr") == 1 + 3
    assert f"<span>{rows[0]['lost']:,}</span>" in found


def test_changes_of_prediction_carry_their_count(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 24)
    moved = {id: compare.prediction_changes(snapshot.views, id, now.base).to_pylist() for id in now.ids}
    id, rows = next((id, rows) for id, rows in moved.items() if rows)

    assert f"<b>{rows[0]['count']:,}</b>" in moves(asked(snapshot, now), {id: rows})
    assert moves(asked(snapshot, now), {id: []}) == ""


def test_a_page_of_instances_shows_images_and_answers(snapshot: Snapshot) -> None:
    now = against_base(snapshot, 2)
    found = compare.instances(snapshot.views, now.ids, now.base, limit=PAGE)

    shown = gallery(found, now.shown, 0)

    assert shown.count("<img") == PAGE
    assert shown.count("<li") == 3 * PAGE
    assert f"1–{PAGE} of {found.count:,}" in shown


def test_a_text_instance_is_shown_as_text() -> None:
    assert payload(b"<b>hi</b>", "text/plain") == '<div class="payload">&lt;b&gt;hi&lt;/b&gt;</div>'
    assert "no image" in payload(None, None)


def test_changes_are_judged_by_the_metrics_direction() -> None:
    assert 'class="good"' in markup.change(0.1, ACCURACY)
    assert 'class="bad"' in markup.change(-0.1, ACCURACY)
    assert markup.change(None, ACCURACY) == ""
    assert markup.percent(-0.256) == "−26 %"


def test_what_is_written_as_nothing_is_neither_good_nor_bad() -> None:
    assert markup.change(-0.0002, ACCURACY) == '<span class="even">±0.0 points</span>'
    assert (markup.percent(-0.0002), markup.percent(-0.2)) == ("±0.0 %", "−20 %")


def test_an_error_is_a_sentence_that_names_models_and_sets_commands_apart() -> None:
    said = markup.sentence("there are none of 0a1b, 2c: bring <in> with `cc-ray import`.", {"0a1b": "resnet › <x>"})

    assert said == "There are none of “resnet › &lt;x&gt;”, 2c: bring &lt;in&gt; with <code>cc-ray import</code>."
    assert markup.sentence("size_bytes is no name") == "size_bytes is no name"


def test_nothing_from_a_store_is_markup() -> None:
    evil = '"><script>alert(1)</script>'

    for found in (
        markup.select("x", evil, {evil: evil}, evil),
        markup.switch("x", {evil: evil}, evil, {evil: evil}),
        markup.button("x", evil, evil),
    ):
        assert "<script" not in found


def test_a_legend_says_that_outliers_share_the_last_colour(snapshot: Snapshot) -> None:
    assert "≤" in legend(snapshot, "accuracy", "colour")
    assert legend(snapshot, "", "size") == ""


def test_the_header_counts_models_and_failures(snapshot: Snapshot) -> None:
    assert f"<b>{len(snapshot.models)}</b> models" in status(snapshot)
    assert "KeyError" in status(snapshot, "KeyError: 'x'")
    assert "cc-ray demo" in welcome(snapshot)


def test_pages_are_linked_to_and_the_one_in_front_is_marked() -> None:
    found = navigation("layers")

    assert 'href="?page=behaviours"' in found
    assert 'href="?page=overview"' in found
    assert found.count("aria-current") == 1
