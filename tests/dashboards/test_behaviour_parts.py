"""Pieces of the parts of the Behaviours page."""

import itertools
import re
from pathlib import Path

import pytest

from cc_ray import compare
from cc_ray.imports.script import log_model
from cc_ray.store import Store
from cc_ray.views import open_views
from dashboards.behaviour import tokens
from dashboards.behaviour.asked import Asked, brief, read, write
from dashboards.behaviour.averages import averages
from dashboards.behaviour.class_table import class_table
from dashboards.behaviour.flow import Flow, class_flows, outcome_flows, sankey
from dashboards.behaviour.heat import MOST_COLUMNS, Scale, heat_map
from dashboards.behaviour.matrix import flip_matrix
from dashboards.behaviour.sums import text_sums
from dashboards.behaviour.terms import KINDS, MEASURES, TERMS
from dashboards.behaviour.texts import _page
from dashboards.behaviour.unknown import unknown
from dashboards.chosen import Chosen
from dashboards.markup import told
from dashboards.snapshot import Snapshot, Source
from dashboards.state import MEASURES as NAMES
from dashboards.state import State
from dashboards.theme import DIVERGING, css
from tests.benchmarks.make_store import make_store
from tests.compare.test_generation import TEXTS, logged

EVIL = '"><script>alert(1)</script>'


def asked(snapshot: Snapshot, count: int = 3, **choices: object) -> Asked:
    ids = [id for id, row in snapshot.models.items() if row["parent"]]
    base = snapshot.models[ids[0]]["root"]
    given = {"measure": "correct", "kind": "difference", "label": None, "where": "", "between": {}, **choices}
    return Asked(snapshot, Chosen(tuple(ids[:count]), base, True), **given)  # type: ignore[arg-type]


def test_every_measure_and_term_is_defined() -> None:
    assert tuple(MEASURES) == NAMES
    assert all(measure.meaning.endswith(".") for measure in MEASURES.values())
    assert all(TERMS.values())
    assert set(KINDS) == {"value", "difference", "absolute", "ratio"}


def test_where_no_answers_are_known_it_says_of_whom_and_what_to_do(snapshot: Snapshot) -> None:
    now, state = asked(snapshot, 3).now, State()

    every = unknown(snapshot, state, now, [now.base, *now.ids])
    base = unknown(snapshot, state, now, [now.base])
    some = unknown(snapshot, state, now, now.ids[:1])

    assert "the answers of these models" in every and "cc-ray import predictions" in every
    assert "side=table" in every and 'data-do="keep"' not in every
    assert "the base, " in base and "choose another base" in base
    assert snapshot.labels.name(now.ids[0]) in some and f'data-models="{" ".join(now.ids[1:])}"' in some


def test_intervals_survive_the_address(snapshot: Snapshot) -> None:
    first, second = list(snapshot.models)[:2]
    kept = {first: (-0.5, 1e-05), second: (0.0, 3.25)}

    assert read(write(kept), snapshot) == kept
    assert read("nonsense:1..2,x,:::..", snapshot) == {}
    assert read(write({first: (2.0, 1.0)}), snapshot) == {}


def test_numbers_are_written_as_their_measure_asks() -> None:
    assert brief(-0.1234, MEASURES["correct"]) == "−12.3"
    assert brief(0.00001, MEASURES["correct"]) == "0"
    assert brief(0.5, MEASURES["loss"]) == "+0.5"
    assert brief(None, MEASURES["loss"]) == "–"


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_table_has_a_column_a_model_and_a_row_a_class(snapshot: Snapshot, kind: str) -> None:
    now = asked(snapshot, 20, measure="loss", kind=kind)
    found = averages(now, "class")

    table = class_table(found, now.names(), "", 0, True)

    assert table.count('<th class="column"') == 21
    assert table.count("<tr>") == 1 + len(found.groups)
    assert table.count("data-brush") == (21 if kind == "value" else 20)


def test_the_map_of_many_classes_keeps_those_that_change_most(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", models=4, instances=1_000, classes=100)
    now = asked(Source(str(store.root)).snapshot, 2)
    found = averages(now, "class")

    drawn = heat_map(found, now.names())

    assert drawn.count("<td") == 2 * MOST_COLUMNS
    assert f"the {MOST_COLUMNS} that change most" in drawn


def test_worse_is_the_same_colour_whichever_way_is_better() -> None:
    up, down = Scale.of(MEASURES["correct"], [-0.5, 0.5]), Scale.of(MEASURES["loss"], [-0.5, 0.5])

    assert up.colours(-0.5) == down.colours(0.5)
    assert up.colours(0.5) == down.colours(-0.5)


def test_the_flip_matrix_of_65_models_stays_small(snapshot: Snapshot) -> None:
    now = asked(snapshot, 22)
    ids = [now.now.base, *now.now.ids]
    rows = compare.flip_matrix(snapshot.views, ids).to_pylist()

    drawn = flip_matrix(now, rows, now.names(), "")

    assert drawn.count("data-at") == len(rows)
    assert len(drawn) / len(ids) ** 2 < 250


def test_flows_leave_nothing_out_but_what_stays_right(snapshot: Snapshot) -> None:
    now = asked(snapshot, 22)
    rows = compare.outcomes(snapshot.views, now.now.ids[-1:], now.now.base).to_pylist()

    flows = outcome_flows(rows)

    assert sum(flow.count for flow in flows) == sum(row["count"] for row in rows[1:])
    assert sankey(flows).count("<path") == len(flows)
    changes = compare.prediction_changes(snapshot.views, now.now.ids[-1], now.now.base, 24).to_pylist()
    assert [flow.count for flow in class_flows(changes)] == [row["count"] for row in changes]


def test_labels_of_a_flow_do_not_touch() -> None:
    flows = [Flow("one", f"class {place}", 1000 if not place else 1, "lost") for place in range(8)]

    tops = [float(top) for top in re.findall(r'y="([^"]+)" text-anchor="start"', sankey(flows))]

    assert len(tops) == 8
    assert min(below - above for above, below in itertools.pairwise(tops)) >= 12


def test_generated_texts_show_the_words_that_differ(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    base = logged(store, "net", TEXTS)
    model = logged(store, "less", ["a cat", "1999", f"A dog {EVIL}", "red"], parent="net", operation="pruning")
    now = Asked(Source(str(store.root)).snapshot, Chosen((model,), base, True), "correct", "difference", None, "", {})

    page = _page(now, "all", "instance", 0)

    assert "<del>cat!</del><ins>a cat</ins>" in page
    assert "accepted: in 1999 | 1999" in page
    assert "<script" not in page
    sums = text_sums(now, compare.generation(now.snapshot.views, [base, model], base).to_pylist())
    assert sums.count("<tr") == 3
    assert "Exact match" in sums and "Perplexity" not in sums


def test_nothing_from_a_store_is_markup(snapshot: Snapshot) -> None:
    flows = [Flow(EVIL, EVIL, 3, "lost")]

    assert "<script" not in sankey(flows)
    assert "<script" not in told(EVIL, EVIL)


def test_tokens_are_coloured_by_the_change_of_their_loss(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    texts = [["<i>", " cat", "\n"], ["A"]]
    ids = [
        log_model(store, "net", task="w", predictions={"token_losses": [[1, 1, 1], [1]], "token_texts": texts}),
        log_model(store, "cut", task="w", parent="net", predictions={"token_losses": [[1, 3, 0.5], [1]]}),
        log_model(store, "swapped", task="w", parent="net", predictions={"token_losses": [[1], [2]]}, seed=1),
    ]
    snapshot = Snapshot(open_views(store.root))
    now = Chosen(tuple(ids[1:]), ids[0], True)
    wanted = Asked(snapshot, now, "correct", "difference", None, "", {})

    shown = tokens.page(wanted, "instance", 0)

    assert "&lt;i&gt;" in shown
    assert "<i>" not in shown.partition("token-cards")[2].replace('<i class="', "")
    colours = re.findall(r'background:([^;]+);color:[^"]+" data-tip="([^"]*)"', shown)
    assert [tip for _, tip in colours[:3]] == [
        "&lt;i&gt;: 1 → 1 nats (±0)", "cat: 1 → 3 nats (+2)", "space: 1 → 0.5 nats (−0.5)",
    ]  # fmt: skip
    assert colours[1][0] == css(DIVERGING[0])
    assert "scored 1 tokens and the base 3" in shown
    assert "× 1" in tokens.tables(wanted, ids[1])
    assert "was scored often enough" in tokens.tables(wanted, ids[1])


def test_tokens_that_are_not_recorded_are_said_to_be_so(snapshot: Snapshot) -> None:
    wanted = asked(snapshot)

    assert tokens.page(wanted, "change", 0) == tokens.tables(wanted, wanted.now.ids[0]) == tokens.UNRECORDED
