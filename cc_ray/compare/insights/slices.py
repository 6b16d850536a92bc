"""Rules about single classes and slices, and about answers that change while their sum stays."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import numpy as np
import scipy

from cc_ray.compare.asking import Row
from cc_ray.compare.insights.changes import ALPHA, MARGIN, Change, corrected
from cc_ray.compare.insights.evidence import answers, literal, lost_as, lost_in, union
from cc_ray.compare.insights.insight import Insight
from cc_ray.compare.insights.scene import Scene
from cc_ray.compare.statistics.intervals import holm, wilson
from cc_ray.wording import format_value

LARGE_SHARE: Final = 0.1
"""Ten points of accuracy are a large change to anybody."""
FEW: Final = 10
"""Fewer instances than this are no pattern."""
CARRIED: Final = 0.5
CLUSTER: Final = 0.2
CHURN: Final = 0.05
ONE_ANSWER: Final = 0.5


def worst_slice(scene: Scene) -> Iterator[Insight]:
    """The slice that lost most; the further beyond what all instances lost, the higher it ranks."""
    worst: dict[str, tuple[Change, Change, float | None]] = {}
    for change, p in corrected(scene.by_part):
        whole = scene.changes.get((change.model_id, "base"))
        if whole is None or change.bound >= 0 or not change.significant(p) or change.ends[1] >= whole.difference:
            continue
        if change.model_id not in worst or change.difference < worst[change.model_id][0].difference:
            worst[change.model_id] = (change, whole, p)
    for model_id, (change, whole, p) in worst.items():
        yield Insight(
            rule="worst_slice",
            sentence=(
                f"Under {scene.called(model_id)}, {change.part} loses more than the rest: its {_quality(scene)} goes "
                f"from {share(change.other_value)} in {scene.called(change.other)} to {share(change.value)} "
                f"({change.words}; {whole.words} over all)."
            ),
            model_id=model_id,
            kind="loss",
            effect=change.difference,
            unit="share",
            bound=whole.difference - change.ends[1],
            scale=LARGE_SHARE,
            facts={**change.facts, "whole_change": whole.difference},
            evidence=union([change.evidence, f"SELECT change AS whole_change FROM ({whole.evidence})"]),
            measured=change.measured,
            p_value=p,
            subject=f"slice {change.part}",
            view="Behaviours" if change.n else "Overview",
        )


def carried_away(scene: Scene) -> Iterator[Insight]:
    """One class that explains most of a loss."""
    by_model: dict[str, list[Change]] = defaultdict(list)
    for change in scene.by_part:
        if change.part_label is not None:
            by_model[change.model_id].append(change)
    whole = [scene.changes[model_id, "base"] for model_id in by_model]
    for change, p in corrected([change for change in whole if change.difference < 0]):
        parts = by_model[change.model_id]
        first = max(parts, key=lambda part: part.lost - part.gained)
        net, own = change.lost - change.gained, first.lost - first.gained
        if len(parts) > 2 and change.significant(p) and own >= CARRIED * net and own >= FEW:
            yield _carried(scene, change, first, p)


def _carried(scene: Scene, change: Change, first: Change, p: float | None) -> Insight:
    net, own = change.lost - change.gained, first.lost - first.gained
    return Insight(
        rule="carried_away",
        sentence=(
            f"{scene.called(change.model_id)}: class {first.part} alone is {share(own / net)} of the loss against "
            f"{scene.called(change.other)}, {own} of {net} answers net."
        ),
        model_id=change.model_id,
        kind="loss",
        effect=own / net,
        unit="share of the net loss",
        bound=first.bound * first.n / change.n,
        scale=LARGE_SHARE / 2,
        facts={"share": own / net, "class_lost": own, "net_lost": net},
        evidence=lost_in(change.model_id, change.other, int(first.part_label or 0)),
        p_value=p,
        subject=f"slice {first.part}",
        view="Behaviours",
    )


_CLUSTERS: Final = """
    WITH moved AS (
        SELECT pairing, label, after, sum(n)::BIGINT AS moved FROM cells SEMI JOIN of_base USING (pairing)
        WHERE was_right AND NOT is_right
        GROUP BY ALL
    )
    SELECT
        *, (sum(moved) OVER (PARTITION BY pairing))::BIGINT AS lost,
        (sum(moved) OVER (PARTITION BY pairing, label))::BIGINT AS of_class
    FROM moved
    QUALIFY row_number() OVER (PARTITION BY pairing ORDER BY moved DESC, label, after) = 1
    ORDER BY pairing
"""


def flip_cluster(scene: Scene) -> Iterator[Insight]:
    """Answers that all went wrong in the same way: one class that is now called another.

    Judged against losses of the class that spread evenly over the other classes; Holm's correction counts every pair
    of classes of every model, as the largest was picked.
    """
    classes = scene.class_count
    found = scene.ask_cells(_CLUSTERS) if classes > 2 else []
    if not found:
        return
    moved, of_class, lost = (np.array([float(row[name]) for row in found]) for name in ("moved", "of_class", "lost"))
    p = np.minimum(1, scipy.special.bdtrc(moved - 1, of_class.astype(int), 1 / (classes - 1)) * classes * (classes - 1))
    low, _ = wilson(moved, lost)
    for row, own_p, bound in zip(found, holm(p), low, strict=True):
        if row["moved"] >= FEW and row["moved"] >= CLUSTER * row["lost"] and own_p < ALPHA:
            yield _cluster(scene, row, float(own_p), float(bound))


def _cluster(scene: Scene, row: Row, p: float, bound: float) -> Insight:
    names = [scene.class_name(row[name]) for name in ("label", "after")]
    part = float(row["moved"]) / float(row["lost"])
    return Insight(
        rule="flip_cluster",
        sentence=(
            f"{scene.called(row['model_id'])} takes {names[0]} for {names[1]}: {row['moved']} of the {row['lost']} "
            f"answers that it loses ({share(part)})."
        ),
        model_id=row["model_id"],
        kind="loss",
        effect=part,
        unit="share of the lost answers",
        bound=bound,
        scale=0.5,
        facts={"moved": float(row["moved"]), "lost": float(row["lost"]), "share": part},
        evidence=lost_as(row["model_id"], row["other"], row["label"], row["after"]),
        p_value=p,
        subject=f"slice {names[0]}",
        view="Behaviours",
    )


def churn(scene: Scene) -> Iterator[Insight]:
    """As accurate as its base, and yet other answers."""
    for model_id in scene.wanted:
        change = scene.changes.get((model_id, "base"))
        if change is None or not change.n or max(abs(end) for end in change.ends) > 2 * MARGIN:
            continue
        differing = change.differing / change.n
        low = float(wilson(change.differing, change.n)[0])
        if change.significant(change.p) or low < CHURN:
            continue
        yield Insight(
            rule="churn",
            sentence=(
                f"{scene.called(model_id)} is as accurate as {scene.called(change.other)} ({change.words}), but "
                f"{share(differing)} of its answers differ."
            ),
            model_id=model_id,
            kind="doubt",
            effect=differing,
            unit="share of the instances",
            bound=low,
            scale=LARGE_SHARE,
            facts={"differing": differing, "change": change.difference},
            evidence=answers(model_id, change.other),
            view="Behaviours",
        )


_ANSWERS: Final = """
    WITH given AS (
        SELECT pairing, after, sum(n) AS given FROM cells SEMI JOIN of_base USING (pairing) GROUP BY ALL
    ),
    true_shares AS (
        SELECT pairing, label AS after, sum(n) AS truly FROM cells SEMI JOIN of_base USING (pairing) GROUP BY ALL
    )
    SELECT
        pairing, after, given, coalesce(truly, 0) AS truly, sum(given) OVER (PARTITION BY pairing) AS everything
    FROM given
    LEFT JOIN true_shares USING (pairing, after)
    QUALIFY row_number() OVER (PARTITION BY pairing ORDER BY given DESC, after) = 1
    ORDER BY pairing
"""


def one_answer(scene: Scene) -> Iterator[Insight]:
    """A model that answers one class whatever it sees."""
    for row in scene.ask_cells(_ANSWERS) if scene.class_count > 2 else []:
        given, truly = (float(row[name]) / float(row["everything"]) for name in ("given", "truly"))
        low = float(wilson(float(row["given"]), float(row["everything"]))[0])
        if low <= max(ONE_ANSWER, 2 * truly):
            continue
        name = scene.class_name(row["after"])
        yield Insight(
            rule="one_answer",
            sentence=(
                f"{scene.called(row['model_id'])} takes {share(given)} of the instances for {name}; {share(truly)} are."
            ),
            model_id=row["model_id"],
            kind="loss",
            effect=given - truly,
            unit="share of the instances",
            bound=low - truly,
            scale=LARGE_SHARE,
            facts={"given": given, "truly": truly},
            evidence=(
                f"SELECT count_if(prediction = {row['after']}) / count(*) AS given, "
                f"count_if(label = {row['after']}) / count(*) AS truly "
                f"FROM predictions WHERE model_id = {literal(row['model_id'])}"
            ),
            subject="one answer",
            view="Behaviours",
        )


def share(value: float) -> str:
    """A share as percent."""
    return format_value(value, "percent")


def _quality(scene: Scene) -> str:
    """What quality is called."""
    return scene.label(scene.roles.quality) if scene.roles.quality else "accuracy"
