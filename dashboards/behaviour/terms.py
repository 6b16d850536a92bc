"""What the words of the Behaviours page mean, said where they stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dashboards import markup


@dataclass(frozen=True)
class Measure:
    """A measure of single answers on the screen."""

    label: str
    format: str
    better: str
    """higher, lower or none."""
    meaning: str
    alone: bool = True
    """Whether a model has a value of its own; else the measure compares two models."""

    def verdict(self, difference: float) -> str:
        """CSS class of a change."""
        if self.better == "none" or not difference:
            return "even"
        return "good" if (difference > 0) == (self.better == "higher") else "bad"


MEASURES: Final = {
    "correct": Measure("Accuracy", "percent", "higher", "Share of instances that are predicted correctly."),
    "confidence": Measure("Confidence", "percent", "none", "Probability that the model gives its own prediction."),
    "true_probability": Measure(
        "True-class probability", "percent", "higher", "Probability that the model gives the true class."
    ),
    "loss": Measure("Loss", "number", "lower", "−ln of the true class's probability, in nats."),
    "margin": Measure(
        "Margin", "number", "higher", "True class's probability less the largest other one: negative where it is wrong."
    ),
    "entropy": Measure("Entropy", "number", "none", "−Σ p ln p over the classes, in nats: 0 where it is sure."),
    "base_class_probability": Measure(
        "Base's class probability", "percent", "none", "Probability that the model gives the class the base predicts."
    ),
    "agree": Measure(
        "Agreement", "percent", "higher", "Share of instances on which model and base predict the same class.", False
    ),
    "kl": Measure(
        "KL divergence",
        "number",
        "lower",
        "Σ p_base ln(p_base / p_model) over the classes, in nats: 0 if equal.",
        False,
    ),
    "mse": Measure(
        "MSE of probabilities", "number", "lower", "Mean over the classes of (p_model − p_base)², from 0.", False
    ),
}
KINDS: Final = {
    "value": ("Own value", "The model's own value, whatever the base's is."),
    "difference": ("Change", "The model's value less the base's, instance by instance."),
    "absolute": ("Size of change", "The change without its sign: ups and downs do not cancel."),
    "ratio": ("Ratio", "The model's value over the base's."),
}
TERMS: Final = {
    "holm": (
        "A change is marked * where its p-value, corrected by Holm over all classes (or slices) of the model, is below "
        "0.05: McNemar's test of accuracy, Student's paired t-test of other measures."
    ),
    "p": "McNemar's test: the chance of flips as uneven as these if neither model were better.",
    "flips": "Share of instances that are right under one of model and base and wrong under the other.",
    "lost": "Right under the base, wrong under the model.",
    "gained": "Wrong under the base, right under the model.",
    "lost_gained": "Instances right under the base only, and right under the model only.",
    "kl": MEASURES["kl"].meaning + " Mean over the instances.",
    "change": "Accuracy less the base's, with its paired bootstrap 95 % interval.",
    "agreement": MEASURES["agree"].meaning,
    "moves": "The most frequent changes from the base's prediction to another one, with the number of instances.",
    "outcomes": (
        "Every instance by what became of the base's answer: still right, lost, gained, wrong with the same "
        "prediction, wrong with another one."
    ),
    "exemplar": (
        "Compression-identified exemplar: the class that most of the compressed models predict is not the base's "
        "(Hooker et al., 2019). Not one unlucky model, but compression as such changes the answer."
    ),
    "agreeing": "Share of the compressed models that predict this class.",
    "ece": (
        "Expected calibration error: mean gap between confidence and accuracy over 15 bins of confidence, weighted by "
        "their instances. 0 is perfect."
    ),
    "ece_p": "Chance of an ECE as large as this if the model were perfectly calibrated.",
    "mce": "Maximum calibration error: the largest gap of any bin.",
    "brier": "Mean squared distance of the probabilities from the truth, from 0 (best) to 2.",
    "nll": "Mean loss: −ln of the true class's probability, in nats.",
    "overconfidence": "Mean confidence less accuracy: positive where the model claims more than it keeps.",
    "reliability": (
        "Of the answers given with some confidence, how many are right? On the diagonal as many as claimed. Circles: "
        "bins of confidence, larger with more instances; whiskers: 95 % Wilson interval; bars below: instances."
    ),
    "slice": "A named subset of the instances, or those that fulfil a condition.",
    "searched": (
        "Classes, named slices, quantiles of the base's confidence, entropy and margin, and intersections of two were "
        "searched for the largest changes of accuracy. This explores: check what it finds on other instances."
    ),
    "histogram": "How the instances are distributed. Drag over it, or use the arrow keys, to keep an interval.",
    "focus": "The model that is looked at alone.",
    "perplexity": "exp of the mean loss over all scored tokens; lower is better.",
    "exact_match": "Share of texts that equal a reference, both normalised.",
    "f1": "Overlap of words with the nearest reference, harmonic mean of precision and recall.",
    "same_top": "Share of tokens on which model and base put the same token first.",
    "token_loss": (
        "−ln of the probability that a model gives a token of the text, in nats, less the base's: brown costs more "
        "than under the base, green less."
    ),
    "token_hurt": (
        "Tokens by the sum of their changes of loss over all texts, and that sum's share of all changes. A token that "
        "is a little worse everywhere costs more than one that is much worse once."
    ),
    "token_position": (
        "exp of the mean loss of the tokens at these places in their texts, beside the base's; the ratio with its "
        "paired bootstrap 95 % interval over the texts."
    ),
    "diff": "Words that only the base wrote are struck out, words that only the model wrote are underlined.",
}


def term(label: str, name: str) -> str:
    """A word that is explained when it is pointed at or focused."""
    return markup.told(label, TERMS[name])


def info(name: str) -> str:
    """A mark that explains what stands before it."""
    return markup.info(TERMS[name])
