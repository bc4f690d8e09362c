"""POST /chat/completions and the URLs below it: requests in, chunks out."""
