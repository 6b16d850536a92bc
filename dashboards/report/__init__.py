"""A report: one comparison as a single HTML file that opens anywhere. One file, one section."""
