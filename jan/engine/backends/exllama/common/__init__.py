"""What the ExLlamaV2 and ExLlamaV3 engines share: folders, tokens, memory, requests and answers.

Nothing here imports either library; ``ExLlamaBackend`` is their backend but for the library's own calls.
"""
