"""ExLlamaV2 and ExLlamaV3, and what the two have in ``common``."""
