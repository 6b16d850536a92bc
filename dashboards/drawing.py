"""HoloViews with Bokeh as its backend: whoever makes elements takes it from here."""

from contextlib import AbstractContextManager, nullcontext

import holoviews as hv
from holoviews.plotting.bokeh import plot as _backend  # registers the Bokeh backend

hv.Store.set_current_backend("bokeh")


def _checked(on: bool) -> AbstractContextManager[None]:
    return nullcontext()


# While it fills a plot, HoloViews switches Bokeh's checks off: for all threads. A page that is sent at that moment has
# colours that are no colours, and stays empty.
_backend.validate = _checked

__all__ = ["hv"]
