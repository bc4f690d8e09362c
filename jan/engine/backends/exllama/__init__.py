"""The ExLlamaV2 and ExLlamaV3 engines, and the parts that both share in ``common``."""
