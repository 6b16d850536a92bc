"""The colours of the dashboard can be read and told apart, on light ground and on dark."""

import re
from itertools import pairwise

import pytest

from dashboards.theme import (
    CSS,
    DIVERGING,
    LAYOUT_CSS,
    PAINTED,
    PALER,
    SEQUENTIAL,
    SERIES,
    contrast,
    css,
    paler,
    text_on,
    token,
)

GROUNDS = ["surface", "canvas", "raised", "neutral", "accent-soft", "good-soft", "bad-soft"]
TEXTS = ["ink", "ink-2", "ink-3", "accent", "good", "bad"]
MARKS = [*(f"series-{place}" for place in range(1, 7)), "accent", "accent-2", "good", "bad", "other-wrong"]
both = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])


def test_contrast_is_that_of_the_guidelines() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert contrast("#ffffff", "#ffffff") == 1


@both
def test_text_can_be_read(dark: bool) -> None:
    pairs = [(text, ground) for text in TEXTS for ground in GROUNDS]
    pairs += [("on-accent", "accent"), ("surface", "ink"), ("surface", "ink-3")]
    ratios = {pair: contrast(token(pair[0], dark=dark), token(pair[1], dark=dark)) for pair in pairs}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


@both
def test_marks_stand_out_from_the_ground(dark: bool) -> None:
    ratios = {name: contrast(token(name, dark=dark), token("surface", dark=dark)) for name in MARKS}
    assert {name: ratio for name, ratio in ratios.items() if ratio < 3} == {}


@both
def test_neighbours_on_a_scale_differ_in_lightness_alone_and_all_in_one_direction(dark: bool) -> None:
    """Whoever sees no hue reads the scale by its lightness."""
    ground = token("surface", dark=dark)
    for steps in ([f"scale-{place}" for place in range(6)], [f"band-{place}" for place in range(6)]):
        colours = [token(step, dark=dark) for step in steps]
        assert all(contrast(one, next_) >= 1.2 for one, next_ in pairwise(colours)), steps
        from_ground = [contrast(colour, ground) for colour in colours]
        assert from_ground == sorted(from_ground), steps
    worse, better = ([token(f"turn-{place}", dark=dark) for place in side] for side in ((3, 2, 1, 0), (3, 4, 5, 6)))
    for side in (worse, better):
        from_ground = [contrast(colour, ground) for colour in side]
        assert from_ground == sorted(from_ground)
        assert from_ground[-1] >= 4.5


def test_text_on_every_colour_of_a_scale_can_be_read_on_either_ground() -> None:
    for colour in (*SEQUENTIAL, *DIVERGING, *SERIES):
        light, dark = re.findall("#[0-9a-f]{6}", text_on(colour))
        assert contrast(light, colour) >= 4.5
        assert contrast(dark, PAINTED[colour]) >= 4.5


def test_each_colour_of_figures_has_one_counterpart_on_dark_ground() -> None:
    assert PAINTED[SEQUENTIAL[0]] == token("scale-0", dark=True)
    assert PAINTED[SEQUENTIAL[-1]] == token("scale-5", dark=True)
    assert [PAINTED[colour] for colour in SERIES] == [token(f"series-{place}", dark=True) for place in range(1, 7)]
    assert all(set(paler(SEQUENTIAL, share)) <= set(PAINTED) for share in PALER)
    assert css(SERIES[0]) == f"light-dark({SERIES[0]},{token('series-1', dark=True)})"


def test_colours_stand_in_the_tokens_alone() -> None:
    lines = [line for line in (CSS + LAYOUT_CSS).splitlines() if re.search(r"#[0-9a-fA-F]{3,8}\b|rgba?\(", line)]
    assert [line for line in lines if "light-dark(" not in line] == []
