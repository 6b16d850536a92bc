"""What the words of the Layers page mean, for whoever points at them or reaches them by the keyboard."""

from __future__ import annotations

from typing import Final

from dashboards import markup

TERMS: Final = {
    "zeros": "Share of the values that are exactly zero.",
    "bits": "Effective bits: bits that a value takes on disk, with scales and masks.",
    "l1": "Mean absolute value: the L1 norm per value.",
    "change": (
        "Relative change of weights, ‖model − base‖ / ‖base‖: 0 % is equal, 100 % as far from the base as zeros are."
    ),
    "delta": "Mean absolute change, |model − base|, per value.",
    "bands": (
        "Each value's own relative change, |model − base| / |base|. Equal values count as 0, and values that were"
        " 0 in the base as more than 1."
    ),
    "sqnr": (
        "Signal to quantization noise ratio, 20 log₁₀(‖base‖ / ‖base − model‖) in dB: 20 dB is noise of a tenth, "
        "6 dB more halve it. Equal weights or outputs have no noise."
    ),
    "output_sqnr": (
        "SQNR of what the module puts out, over the sampled instances: 20 log₁₀(‖base‖ / ‖base − model‖) in dB. "
        "It holds the errors of all modules before."
    ),
    "cosine": (
        "Cosine of the angle between the module's outputs and the base's, over the sampled instances: 1 is the "
        "same direction, 0 none in common."
    ),
    "cka": (
        "Linear centred kernel alignment of two modules' outputs over the sampled instances, in [0, 1]: 1 where "
        "they tell the instances apart in the same way. It lets channels differ; few instances raise it "
        "(Kornblith et al., 2019)."
    ),
    "error": (
        "Relative error of the module's outputs, ‖model − base‖ / ‖base‖, over the sampled instances; with the "
        "errors of all modules before."
    ),
    "outputs": "Outputs of the module over the sampled evaluation instances, at all positions.",
    "isolated": "SQNR of the module's output when it alone is the model's, fed with what the parent's module is fed.",
    "reshaped": "Values without counterpart in the base: channels were removed, or the layer was replaced.",
    "sensitivity": "The metric when this layer alone is compressed, less the metric of the model as it is.",
    "bisection": "The fewest modules that, put back to an ancestor's weights, bring the metric back.",
}
"""Definition by key."""


def term(key: str, label: str) -> str:
    """A word with its definition."""
    return markup.told(label, TERMS[key], f"term-{key}")


def info(key: str) -> str:
    """A mark beside a word that cannot carry its definition itself."""
    return markup.info(TERMS[key], f"info-{key}")
