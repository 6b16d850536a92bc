"""Search spaces that run as they are: `cc-ray run NAME`."""
