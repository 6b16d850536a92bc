"""Does a level of its own for each layer beat one for all, at the same size?

Both base models are rounded, pruned and factored uniformly, and with the same means where each layer has the level that
suits it: a bit width, a sparsity or a share of its parameters. What was rounded is repaired by correcting biases.
Budgets between two uniform widths show what none of them reaches; multiply-adds are another budget of factored layers,
of which those may stay whole that two thin ones would not make cheaper.
"""

from __future__ import annotations

from cc_ray.search import RecipeSpace, SearchSpace, choice, either, optional, recipe, step

BASES = choice("resnet", "vit")
WIDTHS = (2, 3, 4, 5, 6, 8)
SPARSITIES = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
SHARES = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Of a layer's parameters."""


def search_space() -> SearchSpace:
    """Uniform and allocated bit widths, sparsities and ranks."""
    return SearchSpace(
        name="mixed_precision",
        task="digits",
        recipes=[rounded(), pruned(), factored()],
        objectives={"accuracy": "higher", "size_bytes": "lower"},
    )


def rounded() -> RecipeSpace:
    """Bit widths, with and without a correction of biases."""
    uniform = step("uniform_quantization", bits=choice(2, 3, 4, 6, 8))
    allocated = step(
        "allocate",
        applied="uniform_quantization",
        levels=WIDTHS,
        budget=choice(2.5, 3, 3.5, 4, 5),
        solver=choice("exact", "greedy"),
    )
    return recipe(BASES, [either(uniform, allocated), optional(step("bias_correction"))])


def pruned() -> RecipeSpace:
    """Sparsities: the same in each layer, or as it suits the layer."""
    uniform = step("magnitude_pruning", sparsity=choice(0.5, 0.7, 0.8), scope="layer")
    allocated = step("allocate", applied="magnitude_pruning", levels=SPARSITIES, budget=choice(0.5, 0.7, 0.8))
    return recipe(BASES, [either(uniform, allocated)])


def factored() -> RecipeSpace:
    """Ranks, by the share of parameters that is left of a layer."""
    uniform = step("low_rank", amount=choice(0.3, 0.5, 0.7))
    same_size = step("allocate", applied="low_rank", levels=SHARES, budget=choice(0.3, 0.5, 0.7))
    same_arithmetic = step(
        "allocate", applied="low_rank", levels=SHARES, may_stay=True, unit="multiply_adds", budget=choice(0.4, 0.6, 0.8)
    )
    return recipe(BASES, [either(uniform, same_size, same_arithmetic)])
