"""Are layers better told apart by what is known of them than by what a step measures itself?

Goes on after `mixed_precision`, with the same widths and budgets; what compressing each layer alone costs is read from
the rows of `cc-ray sensitivity`, which have to be there for each base model (`cc-ray models` has their identities):

    cc-ray sensitivity MODEL --operation uniform_quantization --levels 2,3,4,5,6,8 --split calibration
"""

from __future__ import annotations

from cc_ray.search import SearchSpace, choice, recipe, rows_of, step
from search_spaces.mixed_precision import WIDTHS


def search_space() -> SearchSpace:
    """Bit widths by layer, chosen by what rounding each layer alone does to the scores."""
    return SearchSpace(
        name="mixed_precision_by_rows",
        task="digits",
        recipes=[
            recipe(
                choice("resnet", "vit"),
                [
                    step(
                        "allocate",
                        applied="uniform_quantization",
                        levels=WIDTHS,
                        budget=choice(2.5, 3, 3.5, 4, 5),
                        harms=rows_of(),
                    )
                ],
            )
        ],
        objectives={"accuracy": "higher", "size_bytes": "lower"},
    )
