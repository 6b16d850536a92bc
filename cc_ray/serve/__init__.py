"""The dashboard over one store for people, and its API (`/api`) for programs, as a Ray Serve application.

`web.py` makes what each replica answers with; `deployment.py` hands it to Serve, `starting.py` from this process.
"""

from cc_ray.serve.deployment import NAME, application, configured
from cc_ray.serve.settings import LOCAL, Arguments, Settings
from cc_ray.serve.starting import refuse_taken_port, serve_store, stay
from cc_ray.serve.web import build_app

__all__ = [
    "LOCAL",
    "NAME",
    "Arguments",
    "Settings",
    "application",
    "build_app",
    "configured",
    "refuse_taken_port",
    "serve_store",
    "stay",
]
