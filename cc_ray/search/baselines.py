"""What every recipe has to beat: random and magnitude pruning, and rounding to the nearest of few values."""

from __future__ import annotations

from typing import Final

from cc_ray.search.space import RecipeSpace, SearchSpace, choice, recipe, step

_STEPS: Final = (
    step("random_pruning", sparsity=choice(0.5, 0.8)),
    step("magnitude_pruning", sparsity=choice(0.5, 0.8)),
    step("uniform_quantization", bits=choice(4, 8)),
)


def baselines(space: SearchSpace) -> SearchSpace | None:
    """The baselines of a space as one of its own, a grid under the first seed; None where it wants none.

    Args:
        space: What they are compared with; its recipes name their base models.
    """
    bases = dict.fromkeys(base for form in space.recipes for base in form.bases)
    if not space.baselines or not bases:
        return None
    forms = [recipe(base, steps) for base in bases for steps in ([], *([one] for one in _STEPS))]
    return SearchSpace(
        space.name,
        space.task,
        [RecipeSpace(form.bases, form.slots, seeds=(space.seeds[0],)) for form in forms],
        space.objectives,
        task_parameters=space.task_parameters,
        baselines=False,
    )
