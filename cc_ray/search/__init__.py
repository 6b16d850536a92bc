"""From a search space over Ray Tune to recipes and steps on the cluster."""
