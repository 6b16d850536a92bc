"""The demo: how small can two readers of handwritten digits become before they misread?

A residual network and a vision transformer are pruned, cut, quantized and repaired in recipes of up to four steps.
Recipes share their first steps, so that every one of about eighty models is made once.
"""

from __future__ import annotations

from cc_ray.search import RecipeSpace, SearchSpace, choice, either, optional, recipe, step

BOTH = choice("resnet", "vit")
FINE_TUNE = step("fine_tune", epochs=4, learning_rate=0.004)

NORMS = {"resnet": ("*norm*", "stem.1", "*.shortcut.1"), "vit": ("*norm*",)}
"""Modules that normalise, by base model."""


def search_space() -> SearchSpace:
    """Recipes that lead to a trade-off between accuracy, size and latency, and the baselines that they have to beat."""
    return SearchSpace(
        name="digits",
        task="digits",
        recipes=[*baselines(), *quantized(), *pruned(), *narrowed(), *repaired()],
        objectives={"accuracy": "higher", "size_bytes": "lower", "latency_p50_ms": "lower"},
    )


def baselines() -> list[RecipeSpace]:
    """The models as they were trained, and weights thrown away by lot."""
    return [
        recipe(BOTH),
        recipe(BOTH, [step("random_pruning", sparsity=choice(0.5, 0.8)), optional(FINE_TUNE)]),
    ]


def quantized() -> list[RecipeSpace]:
    """Nothing but fewer bits."""
    return [
        recipe(
            BOTH,
            [
                either(
                    step("quantize_weights"),
                    step("quantize_dynamic"),
                    step("uniform_quantization", bits=choice(2, 3, 4, 8)),
                )
            ],
        )
    ]


def pruned() -> list[RecipeSpace]:
    """Small weights go, training repairs, and the weights that are left take fewer bits."""
    return [
        recipe(
            BOTH,
            [
                step("magnitude_pruning", sparsity=choice(0.5, 0.8, 0.9)),
                optional(FINE_TUNE),
            ],
        ),
        recipe(
            BOTH,
            [
                step("magnitude_pruning", sparsity=choice(0.5, 0.8, 0.9)),
                FINE_TUNE,
                step("uniform_quantization", bits=choice(3, 4)),
            ],
        ),
        # In two rounds with training in between, pruning goes further than in one.
        *(two_rounds(base, first, second) for base, first, second in (("resnet", 0.8, 0.95), ("vit", 0.5, 0.8))),
    ]


def two_rounds(base: str, first: float, second: float) -> RecipeSpace:
    """Pruning to one sparsity, then to a higher one."""
    return recipe(
        base,
        [
            step("magnitude_pruning", sparsity=first),
            FINE_TUNE,
            step("magnitude_pruning", sparsity=second),
            optional(FINE_TUNE),
        ],
    )


def narrowed() -> list[RecipeSpace]:
    """Whole channels go: what is left is a smaller, faster model of ordinary layers."""
    share = choice(0.25, 0.5)
    fewer_bits = either(
        step("quantize_weights"), step("quantize_dynamic"), step("uniform_quantization", bits=choice(4, 8))
    )
    return [
        recipe(
            "resnet",
            [step("channel_pruning", ratio=share), optional(step("calibrate"))],
        ),
        recipe(
            "resnet",
            [
                step("channel_pruning", ratio=share),
                step("calibrate"),
                FINE_TUNE,
                optional(fewer_bits),
            ],
        ),
        recipe(
            "vit",
            [
                step("channel_pruning", ratio=share),
                optional(FINE_TUNE),
            ],
        ),
        recipe(
            "vit",
            [
                step("channel_pruning", ratio=share),
                step("magnitude_pruning", sparsity=0.5),
                FINE_TUNE,
                optional(step("uniform_quantization", bits=4)),
            ],
        ),
    ]


def repaired() -> list[RecipeSpace]:
    """What went wrong? Put parts back and see."""
    return [
        *(spoilt_and_mended(base) for base in NORMS),
        # Two bits are too few for all layers: which ones need more?
        recipe(
            "resnet",
            [
                step("uniform_quantization", bits=2),
                step("restore", include=choice(("stem",), ("classifier",), ("stages.2",))),
            ],
        ),
    ]


def spoilt_and_mended(base: str) -> RecipeSpace:
    """Normalisation is a few hundred weights: pruned like the others it takes the model down."""
    return recipe(
        base,
        [
            step("magnitude_pruning", sparsity=0.3, scope="layer", include=("*.weight",)),
            optional(step("restore", include=NORMS[base])),
        ],
    )
