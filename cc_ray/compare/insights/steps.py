"""Rules about what a step won, lost or left as it was, against the model it started from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from cc_ray.compare.insights.changes import MARGIN, Change, corrected, in_points
from cc_ray.compare.insights.evidence import beside, union
from cc_ray.compare.insights.insight import Insight
from cc_ray.compare.insights.scene import USEFUL, Scene
from cc_ray.compare.trade_offs.efficiency import speedup
from cc_ray.wording import format_value

LARGE_SHARE: Final = 0.1
DOUBLING: Final = 1.0
"""Half the size is one on the scale of log2."""
HEALING: Final = ("tune", "train", "calib", "distil", "restor")
"""Parts of the names of operations that are to win back what others lost."""
SMALLER: Final = 0.95
"""What still counts as smaller, of the size before."""


def heals(operation: str | None) -> bool:
    """Whether an operation is there to win back accuracy."""
    return any(word in (operation or "").lower() for word in HEALING)


def recovery(scene: Scene) -> Iterator[Insight]:
    """A step that won back what the one before it lost."""
    healing = [change for change in _of_steps(scene) if heals(scene.models[change.model_id]["operation"])]
    for change, p in corrected([change for change in healing if change.difference > 0]):
        before = _loss_before(scene, change)
        if change.bound <= 0 or not change.significant(p) or before is None:
            continue
        lost = -before.difference
        yield Insight(
            rule="recovery",
            sentence=(
                f"{scene.called(change.model_id)} wins back {points(change.difference)} of {change.label}; "
                f"{scene.step(change.other)} lost {points(lost)}."
            ),
            model_id=change.model_id,
            kind="gain",
            effect=change.difference,
            unit="share",
            bound=change.bound,
            scale=LARGE_SHARE,
            facts={"won": change.difference, "lost": lost},
            evidence=(
                f"SELECT change AS won, -change_before AS lost FROM ({change.evidence}), "
                f"(SELECT change AS change_before FROM ({before.evidence}))"
            ),
            measured=change.measured,
            p_value=p,
            subject="parent",
        )


def _loss_before(scene: Scene, change: Change) -> Change | None:
    """What the step before lost; told only where more than chance lost it."""
    before = scene.changes.get((change.other, "parent"))
    return before if before is not None and before.bound < 0 else None


def nothing_changed(scene: Scene) -> Iterator[Insight]:
    """A fine-tune, or another step that was to help, after which the model is no better and no worse."""
    for change in _of_steps(scene):
        if not heals(scene.models[change.model_id]["operation"]) or (not change.measured and change.difference):
            continue
        reach = max(abs(end) for end in change.ends)
        # What is small and yet more than chance is a change.
        if change.measured and (reach > MARGIN or change.bound != 0):
            continue
        yield Insight(
            rule="nothing_changed",
            sentence=f"{scene.called(change.model_id)} changed nothing: {change.label} {_before_and_after(change)}.",
            model_id=change.model_id,
            kind="doubt",
            effect=change.difference,
            unit="share",
            bound=MARGIN - reach if change.measured else MARGIN,
            scale=MARGIN,
            facts=change.facts,
            evidence=change.evidence,
            measured=change.measured,
            p_value=None,
            subject="parent",
        )


def cheapest_step(scene: Scene) -> Iterator[Insight]:
    """The step that saves most bytes and is shown to lose neither accuracy nor time; one for each base."""
    best: dict[str, Insight] = {}
    for change in _of_steps(scene):
        found = _free(scene, change, "cheapest_step", "loses nothing")
        base = scene.base(change.model_id)
        if found is not None and (base not in best or found.effect > best[base].effect):
            best[base] = found
    yield from best.values()


def free_quantization(scene: Scene) -> Iterator[Insight]:
    """Quantization that makes the model smaller, and neither worse nor slower as far as can be told."""
    for change in _of_steps(scene):
        if "quant" in str(scene.models[change.model_id]["operation"]).lower():
            found = _free(scene, change, "free_quantization", "is free")
            if found is not None:
                yield found


def _free(scene: Scene, change: Change, rule: str, verdict: str) -> Insight | None:
    size = scene.roles.size
    own, other = (scene.models[id].get(size) if size else None for id in (change.model_id, change.other))
    if size is None or not own or not other or own > SMALLER * other or not change.harmless:
        return None
    if change.other_value < USEFUL * scene.best or _worse(scene, change):
        return None
    low, high = (in_points(end).removesuffix(" points") for end in change.ends)
    chance = f" ({low} to {high})" if change.measured else ""
    return Insight(
        rule=rule,
        sentence=(
            f"{scene.called(change.model_id)} {verdict}: {scene.label(size)} {scene.write(size, other)} to "
            f"{scene.write(size, own)}, {change.label} {change.words}{chance}."
        ),
        model_id=change.model_id,
        kind="gain",
        effect=other / own,
        unit="times smaller",
        bound=math.log2(other / own),
        scale=DOUBLING,
        facts={"change": change.difference, "size": own, "other_size": other},
        evidence=union(
            [f"SELECT change FROM ({change.evidence})", beside(change.model_id, change.other, {"size": size})]
        ),
        measured=change.measured,
        subject="free",
    )


def _worse(scene: Scene, change: Change) -> bool:
    """Whether something is lost beyond noise: a little accuracy, or time."""
    own, other = (scene.models[id] for id in (change.model_id, change.other))
    ratio, _ = speedup(own, other)
    return (change.measured and change.bound < 0) or (ratio is not None and ratio[2] < 1)


def order_matters(scene: Scene) -> Iterator[Insight]:
    """The same steps in another order, and another accuracy."""
    for change, p in corrected(scene.reordered):
        if not change.significant(p):
            continue
        better, worse = (change.model_id, change.other) if change.difference > 0 else (change.other, change.model_id)
        values = (change.value, change.other_value) if change.difference > 0 else (change.other_value, change.value)
        yield Insight(
            rule="order_matters",
            sentence=(
                f"The order matters: {scene.called(better)} has {format_value(values[0], 'percent')} {change.label}, "
                f"{scene.called(worse)} {format_value(values[1], 'percent')}, with the same steps."
            ),
            model_id=worse,
            kind="loss",
            effect=-abs(change.difference),
            unit="share",
            bound=change.bound,
            scale=LARGE_SHARE,
            facts=change.facts,
            evidence=change.evidence,
            measured=change.measured,
            p_value=p,
        )


def _of_steps(scene: Scene) -> list[Change]:
    found = [scene.changes.get((model_id, "parent")) for model_id in scene.wanted]
    return [change for change in found if change is not None]


def _before_and_after(change: Change) -> str:
    values = [format_value(value, "percent") for value in (change.other_value, change.value)]
    return f"stays {values[0]}" if values[0] == values[1] else f"{values[0]} to {values[1]}"


def points(value: float) -> str:
    """A share as percentage points, without sign."""
    return format_value(value, "percent").replace(" %", " points")
