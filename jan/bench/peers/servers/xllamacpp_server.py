"""llama.cpp's HTTP server as xllamacpp carries it: MODEL, PORT, slots, threads, and cells of the cache."""

import signal
import sys

import xllamacpp

MODEL, PORT, SLOTS, THREADS, CELLS = sys.argv[1], *map(int, sys.argv[2:6])

if __name__ == "__main__":
    parameters = xllamacpp.CommonParams()
    parameters.model.path = MODEL
    parameters.hostnames, parameters.port = ["127.0.0.1"], PORT
    parameters.n_ctx, parameters.n_parallel, parameters.kv_unified = CELLS, SLOTS, True
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = THREADS
    parameters.warmup = parameters.fit_params = False
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pause()
