"""How the answers of models differ: in sum, by class and slice, instance by instance, and what chance explains."""
