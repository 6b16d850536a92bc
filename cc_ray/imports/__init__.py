"""Results that other programs wrote down, brought into the store."""
