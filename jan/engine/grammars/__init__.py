"""Output formats enforced while sampling: grammars, their costs, and the process that tries them."""
