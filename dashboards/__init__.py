"""The dashboard: what users look at. Imports `cc_ray.compare` and `cc_ray.views`, nothing deeper."""
