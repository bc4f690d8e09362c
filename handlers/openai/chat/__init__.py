"""POST /chat/completions and what is below it: request in, chunks out."""
