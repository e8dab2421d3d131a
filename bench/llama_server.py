"""The same engine for both sides of `sealed_stream.py`: llama.cpp's server, in the open.

Prints its URL and serves until it is stopped. No API key: it is what is called directly.
"""

from __future__ import annotations

import threading

import xllamacpp

from privity.infer.engines.embedded import default_threads
from privity.infer.engines.weights import find_default


def main() -> None:
    """Serve the bundled model with the enclave's threads, and prefix caching off as there."""
    weights = find_default()
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(weights.path)
    parameters.model_alias = {weights.model}
    parameters.n_ctx, parameters.n_parallel = 16384, 4
    parameters.cpuparams.n_threads = default_threads()
    parameters.cpuparams_batch.n_threads = default_threads()
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    parameters.fit_params = False
    parameters.warmup = False
    parameters.verbosity = -1
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
