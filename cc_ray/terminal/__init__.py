"""How CC-Ray looks in a terminal."""
