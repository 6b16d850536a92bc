"""Rules about bytes and time: what was promised, what came of it, and models that nobody should choose."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cc_ray.compare.insights.evidence import beside, literal, metrics_of, union
from cc_ray.compare.insights.insight import Insight
from cc_ray.compare.insights.scene import Scene
from cc_ray.wording import format_interval, format_value

CLAIM: Final = 0.02
"""A latency that is less than this much lower claims nothing."""
SPARSE: Final = 0.3
"""From this share of zeros on somebody hopes for a gain."""
DOUBLING: Final = 1.0
BETTER_ON: Final = 2
"""On one objective alone most models are beaten by a neighbour in their own sweep."""
BLOCK: Final = 256
"""Models that are compared with all others at once."""
Floats = NDArray[np.float64]


def latency_within_noise(scene: Scene) -> Iterator[Insight]:
    """A latency below the base's that the repeats do not bear out."""
    latency = scene.roles.latency
    if latency is None:
        return
    for model_id in scene.wanted:
        base = scene.base(model_id)
        own, other = (scene.models[id].get(latency) for id in (model_id, base))
        if own is None or not other or own >= (1 - CLAIM) * other or base == model_id:
            continue
        found = _by_speedup(scene, model_id, base, latency) or _by_spread(scene, model_id, base, latency)
        if found is not None:
            yield found


def _by_speedup(scene: Scene, model_id: str, base: str, latency: str) -> Insight | None:
    """The speed-up was timed in the same rounds as the base: its interval is the judge."""
    speedup = scene.roles.speedup
    ends = scene.interval(model_id, speedup) if speedup else None
    if speedup is None or ends is None or not ends[0] <= 1 <= ends[1] or base != scene.models[model_id]["root"]:
        return None
    columns = {"speedup": speedup, "low": f"{speedup}_low", "high": f"{speedup}_high"}
    told = f"the speed-up in the same run is {format_interval(*ends, 'number')}"
    evidence = union([beside(model_id, base, {"latency": latency}), metrics_of(model_id, columns)])
    facts = {"low": ends[0], "high": ends[1]}
    return _doubtful(scene, model_id, base, latency, told, evidence, facts)


def _by_spread(scene: Scene, model_id: str, base: str, latency: str) -> Insight | None:
    """Without one: the intervals of both, or how far the repeats of both lie apart."""
    both = [scene.interval(id, latency) for id in (model_id, base)]
    if both[0] and both[1]:
        if both[0][1] < both[1][0]:
            return None
        told = f"the intervals overlap: {scene.write(latency, both[0][1])} against {scene.write(latency, both[1][0])}"
        columns = {"latency": latency, "low": f"{latency}_low", "high": f"{latency}_high"}
        facts = {"high": both[0][1], "other_low": both[1][0]}
        return _doubtful(scene, model_id, base, latency, told, beside(model_id, base, columns), facts)
    spread = scene.roles.spread
    apart = [scene.models[id].get(spread) for id in (model_id, base)] if spread else [None]
    if spread is None or None in apart:
        return None
    far = max(float(value) for value in apart if value is not None)
    if scene.models[base][latency] - scene.models[model_id][latency] > far:
        return None
    told = f"single repeats vary by {scene.write(spread, far)} (standard deviation)"
    evidence = (
        f"SELECT *, greatest(spread, other_spread) AS far FROM "
        f"({beside(model_id, base, {'latency': latency, 'spread': spread})})"
    )
    return _doubtful(scene, model_id, base, latency, told, evidence, {"far": far})


def _doubtful(
    scene: Scene, model_id: str, base: str, latency: str, told: str, evidence: str, facts: dict[str, float]
) -> Insight:
    own, other = (float(scene.models[id][latency]) for id in (model_id, base))
    return Insight(
        rule="latency_within_noise",
        sentence=(
            f"{scene.called(model_id)} is not shown to be faster: {scene.label(latency)} {scene.write(latency, own)} "
            f"against {scene.write(latency, other)}, but {told}."
        ),
        model_id=model_id,
        kind="doubt",
        effect=other / own,
        unit="times as fast, claimed",
        bound=math.log2(other / own),
        scale=DOUBLING / 4,
        facts={"latency": own, "other_latency": other, **facts},
        evidence=evidence,
        subject="time",
    )


def idle_sparsity(scene: Scene) -> Iterator[Insight]:
    """Zeros that save no bytes, or no time that the repeats could show."""
    sparsity = scene.roles.sparsity
    if sparsity is None:
        return
    for model_id in scene.wanted:
        zeros, base = scene.models[model_id].get(sparsity), scene.base(model_id)
        before = scene.models[base].get(sparsity) or 0.0
        if zeros is None or zeros - before < SPARSE or base == model_id:
            continue
        told = [text for text in (_no_bytes(scene, model_id, base), _no_time(scene, model_id, base)) if text]
        if told:
            yield _idle(scene, model_id, base, zeros, told)


Told = tuple[str, str, dict[str, float]]
"""What is not saved, the query that shows it, its facts."""


def _no_bytes(scene: Scene, model_id: str, base: str) -> Told | None:
    size = scene.roles.size
    own, other = (scene.models[id].get(size) if size else None for id in (model_id, base))
    if size is None or not own or not other or own < 0.95 * other:
        return None
    text = f"no bytes ({scene.write(size, own)} against {scene.write(size, other)})"
    return text, beside(model_id, base, {"size": size}), {"size": own, "other_size": other}


def _no_time(scene: Scene, model_id: str, base: str) -> Told | None:
    speedup = scene.roles.speedup
    ends = scene.interval(model_id, speedup) if speedup else None
    if speedup is None or ends is None or ends[0] > 1 or base != scene.models[model_id]["root"]:
        return None
    value = scene.models[model_id][speedup]
    text = f"no measurable time (speed-up {format_value(value, 'number')}, {format_interval(*ends, 'number')})"
    columns = {"speedup": speedup, "low": f"{speedup}_low", "high": f"{speedup}_high"}
    return text, metrics_of(model_id, columns), {"speedup": value, "low": ends[0], "high": ends[1]}


def _idle(scene: Scene, model_id: str, base: str, zeros: float, told: list[Told]) -> Insight:
    sparsity = str(scene.roles.sparsity)
    facts = {"sparsity": zeros}
    for _, _, more in told:
        facts |= more
    return Insight(
        rule="idle_sparsity",
        sentence=(
            f"{scene.called(model_id)}: {format_value(zeros, 'percent')} zeros save "
            f"{' and '.join(text for text, _, _ in told)}."
        ),
        model_id=model_id,
        kind="doubt",
        effect=1 / max(1 - zeros, 1e-3),
        unit="times fewer weights, in theory",
        bound=math.log2(1 / max(1 - zeros, 1e-3)),
        scale=2 * DOUBLING,
        facts=facts,
        evidence=union([metrics_of(model_id, {"sparsity": sparsity}), *(query for _, query, _ in told)]),
        subject="time",
    )


def dominated(scene: Scene) -> Iterator[Insight]:
    """A compressed model that another one beats: nowhere worse, better on two objectives or more, intervals apart."""
    objectives = [metric for metric in (scene.roles.quality, *scene.roles.costs) if metric]
    ids = [id for id, row in scene.models.items() if all(row.get(metric) is not None for metric in objectives)]
    if scene.roles.quality is None or len(objectives) < 2 or len(ids) < 2:
        return
    best, worst = _ends(scene, ids, objectives)
    shown = np.array([[scene.models[id][metric] for metric in objectives] for id in ids], float)
    shown[:, 0] *= -1
    about = set(scene.wanted)
    for at, by in enumerate(_beaters(best, worst, shown).tolist()):
        if by >= 0 and ids[at] in about and scene.models[ids[at]]["operation"] is not None:
            yield _beaten(scene, ids[at], ids[by], objectives, float(best[at, 0] - worst[by, 0]))


def _beaters(best: Floats, worst: Floats, shown: Floats) -> NDArray[np.int64]:
    """Of each model the place of the one that beats it, of several that with the best quality; -1 where none does."""
    found = np.full(len(best), -1)
    order = np.argsort(worst[:, 0], kind="stable")
    for start in range(0, len(best), BLOCK):
        block = slice(start, start + BLOCK)
        beating = _beats(worst[order], shown[order], best[block], shown[block])
        found[block] = np.where(beating.any(axis=1), order[beating.argmax(axis=1)], -1)
    return found


def _beats(worst: Floats, shown: Floats, best: Floats, beside: Floats) -> NDArray[np.bool_]:
    """Whether models are beaten by others, (models, others)."""
    beating = np.ones((len(best), len(worst)), bool)
    better = np.zeros(beating.shape, np.int8)
    for column in range(best.shape[1]):
        beating &= worst[:, column] <= best[:, column, None]
        # Of the same run or not, the sentence shows the values as measured: they must say the same.
        beating &= shown[:, column] <= beside[:, column, None]
        better += worst[:, column] < best[:, column, None]
    return beating & (better >= BETTER_ON)


def _ends(scene: Scene, ids: list[str], objectives: list[str]) -> tuple[Floats, Floats]:
    """Better and worse ends of each model's objectives, (models, objectives); smaller is better."""
    ends = np.array([[_same_run(scene, id, metric) for metric in objectives] for id in ids], float)
    ends[:, 0] = -ends[:, 0, ::-1]
    return ends[..., 0], ends[..., 1]


def _same_run(scene: Scene, model_id: str, metric: str) -> tuple[float, float]:
    """An objective's interval; of latency, where it is there, the base's over the speed-up timed beside the base."""
    speedup, root = scene.roles.speedup, scene.models.get(scene.models[model_id]["root"], {})
    ends = scene.interval(model_id, speedup) if speedup else None
    if metric != scene.roles.latency or ends is None or min(ends) <= 0 or root.get(metric) is None:
        return scene.ends(model_id, metric)
    return root[metric] / ends[1], root[metric] / ends[0]


def _beaten(scene: Scene, model_id: str, by: str, objectives: list[str], gap: float) -> Insight:
    columns = {f"objective_{at}": metric for at, metric in enumerate(objectives)}
    told = [
        f"{scene.label(metric)} {scene.write(metric, scene.models[model_id][metric])} against "
        f"{scene.write(metric, scene.models[by][metric])}"
        for metric in objectives
        if scene.models[by][metric] != scene.models[model_id][metric]
    ]
    facts = {name: float(scene.models[model_id][metric]) for name, metric in columns.items()}
    facts |= {f"other_{name}": float(scene.models[by][metric]) for name, metric in columns.items()}
    quality = facts["objective_0"] - facts["other_objective_0"]
    measured = all(scene.interval(id, objectives[0]) for id in (model_id, by))
    return Insight(
        rule="dominated",
        sentence=f"{scene.called(model_id)} is nowhere better than {scene.called(by)}: {', '.join(told)}.",
        model_id=model_id,
        kind="loss",
        effect=quality,
        unit="share",
        bound=gap,
        scale=0.1,
        facts=facts,
        evidence=beside(model_id, by, columns),
        measured=measured,
    )


def constant_metric(scene: Scene) -> Iterator[Insight]:
    """A metric that is the same for every model: it tells nothing, or nobody measured it."""
    task = next(iter(scene.models.values()))["task_id"]
    for metric, definition in scene.definitions.items():
        values = [row[metric] for row in scene.models.values() if row.get(metric) is not None]
        if len(values) < 3 or len(set(values)) > 1 or metric == scene.roles.speedup:
            continue
        yield Insight(
            rule="constant_metric",
            sentence=f"{definition['label']} is {scene.write(metric, values[0])} for all {len(values)} models.",
            model_id=None,
            kind="doubt",
            effect=float(len(values)),
            unit="models",
            bound=float(len(values)),
            scale=50.0,
            facts={"value": values[0], "models": float(len(values))},
            evidence=(
                "SELECT any_value(value) AS value, count(DISTINCT value) AS different, count(*) AS models FROM "
                f"metric_changes JOIN models USING (model_id) WHERE metric = {literal(metric)} "
                f"AND task_id = {literal(task)}"
            ),
        )
