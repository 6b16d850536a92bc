"""The form in which operators compress models further, and its plan."""
