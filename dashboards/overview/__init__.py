"""The parts of the Overview page: one file a view."""
