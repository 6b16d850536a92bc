"""What leaves the page: files and queries of what a card shows, and comparisons that are kept under a name."""
