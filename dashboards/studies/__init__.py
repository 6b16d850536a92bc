"""The parts of the page of studies: what compare answers about one, and the HTML of it."""
