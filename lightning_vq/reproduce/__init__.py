"""A paper's table as one YAML: what it says, what we obtain, and whether the two agree."""
