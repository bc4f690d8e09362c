"""The parts that the ExLlamaV2 and ExLlamaV3 engines share. Nothing here imports either library.

``backend`` runs steps, ``folder`` checks a model's files, ``size`` its memory, ``tokenizer`` its tokens; ``job``
says what a library's job is made from, ``logits`` changes logits before sampling, ``salting`` keeps owners' caches
apart, ``loading`` loads weights, ``device`` opens the GPUs.
"""
