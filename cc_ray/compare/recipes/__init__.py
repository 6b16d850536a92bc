"""How models came to be: lineage, what explains the differences of recipes, which are near."""
