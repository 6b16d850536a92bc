"""The web application in a process of its own, without Ray: `python -m tests.serve.server STORE PORT SETTINGS`."""

import sys

import uvicorn

from cc_ray.serve import Settings, build_app

if __name__ == "__main__":
    root, port, settings = sys.argv[1:]
    app = build_app(root, Settings.model_validate_json(settings))
    uvicorn.run(app, port=int(port), log_level="warning")
