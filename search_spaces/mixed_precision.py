"""Does a bit width of its own for each layer beat one for all, at the same size?

Both base models are rounded to 2 to 8 bits uniformly, and with the same means where each layer has the width that suits
it; both kinds are repaired by correcting biases. Budgets between two widths show what no uniform setting reaches.
"""

from __future__ import annotations

from cc_ray.search import SearchSpace, choice, either, optional, recipe, step

WIDTHS = (2, 3, 4, 5, 6, 8)


def search_space() -> SearchSpace:
    """Uniform and allocated bit widths, with and without a correction of biases."""
    return SearchSpace(
        name="mixed_precision",
        task="digits",
        recipes=[
            recipe(
                choice("resnet", "vit"),
                [
                    either(
                        step("uniform_quantization", bits=choice(2, 3, 4, 6, 8)),
                        step(
                            "allocate",
                            applied="uniform_quantization",
                            levels=WIDTHS,
                            budget=choice(2.5, 3, 3.5, 4, 5),
                            solver=choice("exact", "greedy"),
                        ),
                    ),
                    optional(step("bias_correction")),
                ],
            )
        ],
        objectives={"accuracy": "higher", "size_bytes": "lower"},
    )
