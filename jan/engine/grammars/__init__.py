"""Output formats that are enforced while sampling: grammars, their costs, and trials of new ones."""
