"""A report says what compare answers, holds all that it needs, and lets nothing from a store through as markup."""

import base64
import hashlib
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from bokeh.models import CustomJS, CustomJSTickFormatter
from bokeh.plotting import figure

from cc_ray import cli, compare
from cc_ray.compare import catalogue
from cc_ray.errors import ModelNotFoundError, NotComparableError
from cc_ray.recipe import Step
from cc_ray.store import Store
from cc_ray.views import Views, open_views
from dashboards.report.document import LAST, SECTIONS, document, policy
from dashboards.report.examples import PICTURE_BYTES, TEXT_CHARACTERS, bounded
from dashboards.report.plots import compiled
from dashboards.report.still import still
from dashboards.report.subject import Subject
from dashboards.snapshot import Snapshot
from dashboards.state import short
from tests.compare.small import TASK, add_model, answers, new_store

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'"
AT = datetime(2026, 11, 26, tzinfo=UTC)


def report_of(views: Views, **choices: Any) -> str:
    return document(Subject.of(views, store="my store", made_at=AT, **choices))


def bodies(html: str) -> dict[str, str]:
    """HTML of each section by its place in the address."""
    return {match[1]: match[2] for match in re.finditer(r'<section id="([\w-]+)"(.*?)</section>', html, re.DOTALL)}


@pytest.fixture(scope="module")
def damaged(snapshot: Snapshot) -> list[str]:
    """The three models that lost most."""
    made = [row for row in snapshot.models.values() if row["operation"]]
    return [row["model_id"] for row in sorted(made, key=lambda row: row["accuracy"])[:3]]


@pytest.fixture(scope="module")
def report(snapshot: Snapshot, damaged: list[str]) -> str:
    return report_of(snapshot.views, selection=damaged, notes="One thought.\n\nAnother.")


def test_every_section_is_filled_and_named_in_the_contents(report: str) -> None:
    found = bodies(report)

    assert list(found) == [*SECTIONS, *LAST]
    assert all(f'<a href="#{key}">' in report for key in found)
    assert not {key for key, body in found.items() if 'class="failure"' in body or 'class="empty"' in body}


def test_the_head_says_what_it_is_of_and_how_to_make_it_again(
    snapshot: Snapshot, damaged: list[str], report: str
) -> None:
    head = report.partition("<header")[2].partition("</header>")[0]
    command = shlex.split(unescape(re.findall(r"<code>(cc-ray report .*?)</code>", head)[0]))

    assert f"{len(snapshot.models)} models" in head
    assert "2026-11-26 00:00 UTC" in head
    assert "<p>One thought.</p><p>Another.</p>" in head
    end = command.index("--base")
    ids = [compare.resolve(snapshot.views, digits) for digits in command[2:end]]
    assert ids == damaged
    assert command[end:] == ["--base", short(snapshot.models[ids[0]]["root"]), "--store", "my store"]


def test_every_query_of_a_report_is_answered(snapshot: Snapshot, report: str) -> None:
    queries = [unescape(text) for text in re.findall("<pre><code>(.*?)</code></pre>", bodies(report)["queries"])]
    asked = [shlex.split(query)[2:] for query in queries if query.startswith("cc-ray ask")]

    assert asked
    for question, *words in asked:
        given: dict[str, list[str]] = {}
        for name, _, value in (word.partition("=") for word in words):
            given.setdefault(name, []).append(value)
        catalogue.question(question).ask(snapshot.views, given)
    for query in queries:
        if query.startswith("SELECT"):
            assert snapshot.views.sql(query).num_rows


def test_every_metric_of_every_model_stands_with_its_interval(
    snapshot: Snapshot, damaged: list[str], report: str
) -> None:
    subject = Subject.of(snapshot.views, store="", made_at=AT, selection=damaged)
    there = [name for name in snapshot.metrics if any(snapshot.models[id][name] is not None for id in subject.models)]
    cells = re.findall(r'<td class="number" data-value="([^"]+)"', bodies(report)["metrics"])

    values = [snapshot.models[id][name] for id in subject.models for name in there]
    assert sorted(map(float, cells)) == sorted(value for value in values if value is not None)


def test_only_the_scripts_of_the_file_may_run_and_nothing_may_be_fetched(report: str) -> None:
    content = unescape(re.findall(r'Content-Security-Policy" content="([^"]*)"', report)[0])
    scripts = re.findall("<script>(.*?)</script>", report, re.DOTALL)

    assert content == policy(scripts)
    assert content.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in content.partition("style-src")[0]
    digest = base64.b64encode(hashlib.sha256(scripts[-1].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in content
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", report.partition("<main>")[2].partition("<script>")[0])


def test_nothing_waits_for_an_answer_that_nobody_gives(report: str) -> None:
    main = report.partition("<main>")[2].partition("</main>")[0]

    assert "data-do" not in main
    assert set(re.findall(r'<button[^>]*class="(\w+)"', main)) == {"sorting", "zoom"}


def test_markup_made_still_keeps_what_it_says() -> None:
    shown = (
        '<h2>T &amp; <small>x</small></h2><td data-do="choose" data-choices="{}" tabindex="0" title="a &lt; b">1</td>'
        '<button class="link" data-do="choose" title="Show">zero</button><button class="rank" data-do="s">↕</button>'
        '<button data-zoom title="Larger"><img alt=""></button><path d="M1"/>'
    )

    assert still(shown) == (
        '<h3>T &amp; <small>x</small></h3><td tabindex="0" data-tip="a &lt; b">1</td>'
        '<span class="link">zero</span><button data-zoom title="Larger"><img alt=""></button>'
        '<path d="M1"/>'
    )


def hostile(root: Path) -> Store:
    store = new_store(root, tasks=())
    store.publish("task", TASK, {
        "tasks": [{"task_id": TASK, "task": EVIL, "parameters": "{}", "class_names": [EVIL, "one", "two"],
                   "bases": [EVIL], "created_at": AT}],
        "metric_definitions": [
            {"metric": metric, "label": EVIL, "unit": EVIL, "direction": "higher", "primary": True, "format": "number",
             "meaning": EVIL} for metric in ("accuracy", EVIL)
        ],
        "instances": [
            {"task_id": TASK, "instance": place, "label": place % 3, "slices": [EVIL], "payload": EVIL.encode(),
             "payload_type": "text/plain"} for place in range(6)
        ],
    })  # fmt: skip
    labels = [place % 3 for place in range(6)]
    measured = {"accuracy": 0.5, EVIL: 1.0}
    add_model(store, "0" * 40, base=EVIL, metrics=measured, labels=labels, probabilities=answers(labels))
    add_model(
        store, "1" * 40, base=EVIL, parent="0" * 40, steps=[Step("prune", {EVIL: EVIL})], metrics=measured,
        labels=labels, probabilities=answers([1, 1, 2, 0, 1, 1]),
        layers=[{"layer": EVIL, "shape": [2], "parameters": 2, "zeros": 1}],
        findings=[{"check": "x", "severity": "error", "message": EVIL, "layer": EVIL}],
    )  # fmt: skip
    return store


def test_nothing_from_a_store_becomes_markup_or_script(tmp_path: Path) -> None:
    views = open_views(hostile(tmp_path / "store").root)

    found = report_of(views, title=EVIL, notes=EVIL)

    assert "Prune" in found
    assert not re.findall("<img[^>]*onerror|<script>alert", found)
    # Before the scripts all of it is text; in the data of the plots no tag begins.
    assert found.count("</script>") == found.count("<script>") == 4
    assert "alert(2)" in bodies(found)["behaviours"]


def without(*tables: str) -> Callable[[Path], Views]:
    def make(root: Path) -> Views:
        store = new_store(root)
        labels = [0, 1, 2] * 4
        shown: dict[str, Any] = (
            {"labels": labels, "probabilities": answers(labels)} if "predictions" not in tables else {}
        )
        metrics = {"accuracy": 0.9} if "metrics" not in tables else {}
        add_model(store, "0" * 40, metrics=metrics, **shown)
        add_model(store, "1" * 40, parent="0" * 40, steps=[Step("prune", {"ratio": 1})], metrics=metrics, **shown)
        return open_views(store.root)

    return make


@pytest.mark.parametrize(
    ("missing", "section", "remedy"),
    [
        ("predictions", "behaviours", "cc-ray import predictions"),
        ("layers", "layers", "log_model"),
        ("metrics", "metrics", "cc-ray run"),
    ],
)
def test_what_is_missing_is_said_with_how_to_get_it(tmp_path: Path, missing: str, section: str, remedy: str) -> None:
    found = bodies(report_of(without(missing, "layers")(tmp_path / "store")))

    assert 'class="empty"' in found[section]
    assert remedy in found[section]
    assert "Prune" in found["recipes"]


def test_an_address_of_the_dashboard_shows_the_same_models_alike(snapshot: Snapshot) -> None:
    ids = [id for id, row in snapshot.models.items() if row["operation"]][:2]
    query = f"?page=behaviours&selection={','.join(map(short, ids))}&base={short(ids[1])}&x=sparsity&log_y=1"

    subject = Subject.of(snapshot.views, store="", made_at=AT, address=f"http://host/{query}#x")

    assert (subject.now.ids, subject.now.base) == ((ids[0],), ids[1])
    assert (subject.encoding.x, subject.state.log_y) == ("sparsity", True)
    assert "x=sparsity" in subject.command


def test_models_of_other_stores_and_other_tasks_are_refused(tmp_path: Path, snapshot: Snapshot) -> None:
    with pytest.raises(ModelNotFoundError, match="the address names abcdef0123"):
        Subject.of(snapshot.views, store="", made_at=AT, address="?selection=abcdef0123")
    with pytest.raises(NotComparableError, match="itself alone"):
        base = next(iter(snapshot.models))
        Subject.of(snapshot.views, store="", made_at=AT, selection=[base], base=base)
    store = new_store(tmp_path / "store", tasks=("a-1", "b-1"))
    with pytest.raises(NotComparableError, match="nothing to report on"):
        Subject.of(open_views(store.root), store="", made_at=AT)
    ids = [add_model(store, f"{n}" * 40, steps=[Step("prune", {"n": n})], task_id=f"{t}-1") for n, t in enumerate("ab")]
    with pytest.raises(NotComparableError, match="different tasks"):
        Subject.of(open_views(store.root), store="", made_at=AT, selection=ids)


def test_large_instances_are_not_put_into_the_file() -> None:
    picture = {"payload": b"x" * (PICTURE_BYTES + 1), "payload_type": "image/png"}
    text = {"payload": b"x" * (TEXT_CHARACTERS + 1), "payload_type": "text/plain"}

    assert bounded(picture) == {"payload": b"a picture of 0.2 MB", "payload_type": "text/plain"}
    assert bounded(text)["payload"].endswith(b"x \xe2\x80\xa6")
    assert bounded({"payload": None, "payload_type": None})["payload"] is None


def test_code_of_plots_is_written_out_instead_of_compiled() -> None:
    plot = figure()
    plot.xaxis.formatter = CustomJSTickFormatter(code="return tick")
    plot.js_on_change("inner_width", CustomJS(args={"plot": plot}, code="console.log(plot)"))

    script = compiled([plot])

    assert "function(tick, index, ticks) {" in script
    assert "function(plot, cb_obj, cb_data, cb_context) {" in script


def test_the_verb_writes_whole_files_and_needs_no_torch(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report.html"
    file.write_text("older")
    code = (
        "import sys; from cc_ray.cli import app; "
        f"app(['report', '--store', {str(store.root)!r}, '-o', {str(file)!r}], standalone_mode=False); "
        "sys.exit('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr
    assert str(file) in " ".join(ran.stderr.split())
    assert file.read_text().endswith("</html>\n")
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]

    monkeypatch.setattr(sys, "argv", ["cc-ray", "report", "--store", str(store.root), "-o", str(tmp_path / "no" / "x")])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
