"""HoloViews with Bokeh as its backend: whoever makes elements takes it from here."""

import holoviews as hv
from holoviews.plotting import bokeh as _backend  # noqa: F401 (registers the Bokeh backend)

hv.Store.set_current_backend("bokeh")

__all__ = ["hv"]
