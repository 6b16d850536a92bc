"""The parts of the Behaviours page: one file, one part."""
