"""Which models are the best compromises, and what they save."""
