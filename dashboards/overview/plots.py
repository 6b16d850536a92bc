"""The two plots of the page: drawn apart, marked and filtered at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final, TypeVar

from panel.io import hold

from dashboards import figures, markup
from dashboards.casts import Cast
from dashboards.components import Html
from dashboards.map_layout import Arrangement
from dashboards.model_map import model_map
from dashboards.overview.encoding import Encoding
from dashboards.overview.filters import Filters, Interval
from dashboards.overview.limits import Limits
from dashboards.session import DRAWING, Session
from dashboards.snapshot import Metric, Snapshot
from dashboards.theme import layout
from dashboards.trade_offs import front_columns, trade_off

Made = TypeVar("Made")
Front = list[dict[str, list[Any]]]
"""Columns of the front's parts, as `trade_offs.front_columns` gives them."""

ONE_METRIC: Final = '<p class="empty">Both plots need two metrics that these models have; the tab Table shows all.</p>'

DETAILED: Final = 500
"""With more models than this a tooltip says only the name and what is drawn: what one can look at must stay small."""
BY_KEYBOARD: Final = (
    "Each dot is a model. Choose models by the keyboard in the tab Table, areas in the tab Filter: the same selection."
)


@dataclass(frozen=True)
class Drawn:
    """All that the plots depend on, beside the models that pass."""

    snapshot: Snapshot
    encoding: Encoding
    arrange: Arrangement
    log_x: bool
    log_y: bool
    kept: tuple[str, ...] | None
    """Models that the front is of; None for all."""
    groups: str
    dim: bool
    folded: frozenset[str]
    """Sweeps that are one node of the map."""
    handles: bool
    on_map: frozenset[str] | None
    """Models on the map; None for all."""

    @property
    def axes(self) -> tuple[object, ...]:
        """What a figure cannot change of the scatterplot."""
        return self.encoding.x, self.encoding.y, self.log_x, self.log_y

    @property
    def choices(self) -> tuple[object, ...]:
        """All that the plots of one snapshot depend on."""
        return tuple(getattr(self, part.name) for part in fields(self) if part.name != "snapshot")

    @property
    def possible(self) -> bool:
        """Whether there is anything to draw."""
        return bool(self.snapshot.models and self.encoding.x and self.encoding.y)

    @property
    def map_view(self) -> tuple[object, ...]:
        """What makes the map's coordinates."""
        return self.arrange, self.folded, self.on_map

    def differs_in_front(self, other: Drawn) -> bool:
        """Whether the other one has another front and nothing else."""
        return replace(self, kept=other.kept) == other and not other.dim


class Plots:
    """The Model Map and the scatterplot of one session.

    Args:
        session: The session's choices and data.
        selected: Told of the models that the user selects.
        limited: Told of a metric and the interval that a line was dragged to.
        folded: Told of the sweep that is to be folded or unfolded.
        waiting: Told whether plots are being made.
    """

    def __init__(
        self,
        session: Session,
        selected: Callable[[list[str]], None],
        limited: Callable[[str, Interval], None],
        folded: Callable[[str], None],
        waiting: Callable[[bool], None],
    ) -> None:
        self.session = session
        self.map_stage = layout("stage")
        self.scatter_stage = layout("stage")
        self._told, self._limited, self._folded, self._waiting = selected, limited, folded, waiting
        self._filters = Filters()
        self._limits: Limits | None = None
        self._kept: Collection[str] | None = None
        self._marking = False
        self._turning = False
        """Whether a sweep's mark was tapped, which the browser takes for a tap beside all models, too."""
        self._pair: tuple[figures.Plot, figures.Plot] | None = None
        self._drawn: Drawn | None = None
        self._asked: Drawn | None = None
        self._making = False
        """Whether plots, not only a front, are being made."""

    def draw(self, wanted: Drawn, front: Front | None = None) -> None:
        """Make the plots apart, of which the page shows the newest.

        Args:
            wanted: What they depend on.
            front: That of the models that pass, where it is known already.
        """
        if not wanted.possible:
            for stage in (self.map_stage, self.scatter_stage):
                stage[:] = [Html(ONE_METRIC)]
            return
        # A front alone is quick, but must not overtake plots that are still being made.
        only_front = self.front(wanted) is not None
        self._asked, self._making = wanted, not only_front
        if only_front and front is not None:
            self.session.cancel("overview-plots")
            self._waiting(False)
            self._show_front(wanted, front)
            return
        self._waiting(True)
        if only_front:
            self._make(partial(_front, wanted), partial(self._show_front, wanted))
        else:
            self._make(partial(pair, wanted), partial(self._show, wanted))

    def front(self, wanted: Drawn) -> Callable[[Drawn], Front] | None:
        """What finds the front, where nothing else is to be drawn anew; takes its time."""
        return _front if self._asked and not self._making and self._asked.differs_in_front(wanted) else None

    def _make(self, work: Callable[[], Made], show: Callable[[Made], None]) -> None:
        def take(made: Made) -> None:
            self._waiting(False)
            show(made)

        failed = partial(self._waiting, False)
        self.session.apart("overview-plots", work, take, DRAWING, failed, stoppable=True)

    def filter(self, filters: Filters, kept: Collection[str]) -> None:
        """Fade the models that do not pass."""
        self._filters, self._kept = filters, kept if filters.active else None
        self._fade()

    def _fade(self) -> None:
        for plot in self._pair or ():
            figures.let_pass(plot, self._kept)
        if self._limits is not None:
            self._limits.place(self._filters)
        self.mark()

    def mark(self) -> None:
        """Mark the selection in both plots."""
        if self._pair is not None:
            self._marking = True
            chosen = set(self.session.state.selection)
            ids = self._pair[0].source.data["model_id"]
            places = [place for place, id in enumerate(ids) if id in chosen]
            if self._pair[0].source.selected.indices != places:
                self._pair[0].source.selected.indices = places
            self._marking = False

    def _show(self, wanted: Drawn, fresh: tuple[figures.Plot, figures.Plot]) -> None:
        before = self._drawn
        if self._pair is None or before is None or before.axes != wanted.axes:
            self._replace(wanted, fresh)
        else:
            figures.renew(self._pair[0], fresh[0], keep_view=before.map_view == wanted.map_view)
            figures.renew(self._pair[1], fresh[1], keep_view=True)
            self._fade()
        self._drawn, self._making = wanted, False

    def _show_front(self, wanted: Drawn, columns: Front) -> None:
        if self._pair is not None:
            figures.renew_first(self._pair[1], columns)
        self._drawn = wanted

    def _replace(self, wanted: Drawn, fresh: tuple[figures.Plot, figures.Plot]) -> None:
        figures.link(fresh)
        figures.on_selection(fresh[0], self._selected)
        figures.on_handle(fresh[0], self._turn)
        self._pair = fresh
        self._limits = Limits(fresh[1], _axes(wanted), self._limited)
        # Marked before they are in the page: changes to what the browser does not know yet could overtake it.
        self._fade()
        for stage, plot in zip((self.map_stage, self.scatter_stage), fresh, strict=True):
            stage[:] = [figures.fill(plot.figure)]
        self.session.once_drawn(partial(restock, wanted))

    def _turn(self, sweep: str) -> None:
        self._turning = self._pair is not None and bool(self._pair[0].source.selected.indices)
        self._folded(sweep)

    def _selected(self, indices: list[int]) -> None:
        if self._marking or self._pair is None:
            return
        if self._turning and not indices:
            self._turning = False
            self.mark()
            return
        ids = [self._pair[0].source.data["model_id"][place] for place in indices]
        allowed = [id for id in ids if self._kept is None or id in self._kept]
        with hold(self.session.doc):
            self._told(allowed)
            if len(allowed) < len(ids):
                self.mark()


def _axes(wanted: Drawn) -> tuple[Metric, Metric]:
    """The metrics of the scatterplot's axes."""
    metrics = wanted.snapshot.metrics
    return metrics[wanted.encoding.x], metrics[wanted.encoding.y]


def _front(wanted: Drawn) -> Front:
    encoding = wanted.encoding
    return front_columns(wanted.snapshot.views, encoding.x, encoding.y, ids=wanted.kept, groups=wanted.groups)


def pair(wanted: Drawn) -> tuple[figures.Plot, figures.Plot]:
    """The Model Map and the scatterplot, not linked yet: copies, where they were prepared."""
    prepared = casts(wanted)
    return (prepared[0].copy(), prepared[1].copy()) if prepared else (map_of(wanted), scatter_of(wanted))


def casts(wanted: Drawn) -> tuple[Cast, Cast] | None:
    """What copies are made from; None where nothing was prepared."""
    prepared: tuple[Cast, Cast] | None = wanted.snapshot.answered(wanted.choices)
    return prepared


def restock(wanted: Drawn) -> None:
    """Have copies at hand for the next tab."""
    for cast in casts(wanted) or ():
        cast.restock()


def prepare(wanted: Drawn) -> None:
    """Have plots at hand before tabs ask for them."""
    if wanted.possible:
        wanted.snapshot.once(wanted.choices, lambda: (Cast(map_of(wanted)), Cast(scatter_of(wanted))))
        restock(wanted)


def map_of(wanted: Drawn) -> figures.Plot:
    """The Model Map."""
    encoding = wanted.encoding
    drawn = model_map(
        wanted.snapshot.views, arrange=wanted.arrange, colour=encoding.colour, size=encoding.size,
        folded=wanted.folded, handles=wanted.handles, shown=wanted.on_map,
    )  # fmt: skip
    return figures.render(drawn, _columns(wanted), f"Model Map. {BY_KEYBOARD}")


def scatter_of(wanted: Drawn) -> figures.Plot:
    """The scatterplot, of two metrics."""
    encoding = wanted.encoding
    drawn = trade_off(
        wanted.snapshot.views, encoding.x, encoding.y, encoding.colour, size=encoding.size,
        log_x=wanted.log_x, log_y=wanted.log_y, ids=wanted.kept, groups=wanted.groups, dim=wanted.dim,
    )  # fmt: skip
    x, y = _axes(wanted)
    said = f"Scatterplot of {y.label} against {x.label} with the trade-off front. {BY_KEYBOARD}"
    return figures.render(drawn, _columns(wanted), said)


def _columns(wanted: Drawn) -> dict[str, list[str]]:
    """What each model's point knows of it beside its look."""
    encoding = wanted.encoding
    shown = [encoding.colour, encoding.size, encoding.x, encoding.y]
    return {"model_id": list(wanted.snapshot.models), "tooltip": tooltips(wanted.snapshot, shown)}


def tooltips(snapshot: Snapshot, shown: Sequence[str]) -> list[str]:
    """What the pointer tells about each model."""
    write = markup.tooltip if len(snapshot.models) <= DETAILED else markup.brief_tooltip
    metrics = list(dict.fromkeys(name for name in shown if name))
    return snapshot.once(("tooltips", *metrics), lambda: [write(snapshot, id, metrics) for id in snapshot.models])
