"""Generated text against accepted answers: exact match and F1 over words.

Source: Rajpurkar et al., 2016, "SQuAD: 100,000+ Questions for Machine Comprehension of Text" (normalisation, maximum
over the references); Rajpurkar et al., 2018, "Know What You Don't Know" (F1 where nothing is left of a text).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Final

_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)
_ARTICLES: Final = re.compile(r"\b(a|an|the)\b")


def normalised(text: str) -> str:
    """The text in lower case, without ASCII punctuation, English articles and superfluous white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(text: str, references: Sequence[str]) -> bool:
    """Whether the text equals one of the references, all normalised."""
    own = normalised(text)
    return any(own == normalised(reference) for reference in references)


def f1(text: str, references: Sequence[str]) -> float:
    """Largest F1, in [0, 1], of the words that the text shares with one of the references, all normalised."""
    own = normalised(text).split()
    return max(_f1(own, normalised(reference).split()) for reference in references)


def _f1(own: Sequence[str], reference: Sequence[str]) -> float:
    if not own or not reference:
        return float(own == reference)
    shared = (Counter(own) & Counter(reference)).total()
    # The harmonic mean of precision and recall.
    return 2 * shared / (len(own) + len(reference))
