"""The child process of the embedded endpoint: llama.cpp's server, until standard input ends.

Started by `embedded.py` as a plain script, so that it needs nothing but xllamacpp.
It prints one line of JSON, `{"base_url": ...}`, when the model is ready to answer.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import signal
import stat
import threading
from typing import IO, Any

KEY_VARIABLE = "PROMPTQUEUE_EMBEDDED_KEY"
"""Environment variable with the API key; a command line could be read by other users."""

BATCH_TOKENS = 512
"""Prompt tokens between two looks at the connection: a caller who hung up is noticed only there.
Measured: with llama.cpp's own 2048 an abandoned prompt kept two busy cores for a minute."""

PROMPT_CACHE_MIB = 1024
"""Memory for the caches of earlier conversations; llama.cpp's own 8192 is more than many have.
One token takes 28 KiB here, so this holds a whole context of 32,768 tokens and some."""

COPIED_TOKENS = 12
"""After so many tokens in a row that the conversation has held before, it may go on like that."""
AHEAD_TOKENS = 16
"""How much of it is guessed, and then judged by the model in one go.
A mended file is mostly a copy of the one before."""


def main() -> None:
    """Serve until the parent closes standard input, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    options = _parse_options()
    _die_at_end_of_stdin()
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    report = _claim_stdout()
    server = _start_server(options, os.environ.pop(KEY_VARIABLE))
    report.write(json.dumps({"base_url": f"{server.listening_address}/v1"}) + "\n")
    report.close()
    threading.Event().wait()


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="path of the GGUF file")
    parser.add_argument("--name", required=True, help="name of the model in /v1/models")
    parser.add_argument("--context", type=int, required=True, help="tokens of the context")
    parser.add_argument("--threads", type=int, default=-1, help="-1: as many as there are cores")
    return parser.parse_args()


def _die_at_end_of_stdin() -> None:
    """Let the kernel end this process with SIGIO when the pipe ends.

    While a model loads, xllamacpp holds the interpreter's lock, and no thread of ours runs.
    Linux only: elsewhere SIGIO ends nothing, and an orphan first loads to the end.
    """
    if stat.S_ISFIFO(os.fstat(0).st_mode):  # a terminal would keep the flag when we are gone
        fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(0, fcntl.F_SETFL, fcntl.fcntl(0, fcntl.F_GETFL) | os.O_ASYNC)


def _exit_with_parent() -> None:
    """End this process when standard input ends, or when another process has inherited us.

    The second is for a parent that forked: the fork holds the pipe open.
    """
    parent = os.getppid()
    while os.getppid() == parent:
        if select.select([0], [], [], 1.0)[0] and not os.read(0, 4096):
            break
    os._exit(0)  # the server's destructor would first finish the batch in work


def _claim_stdout() -> IO[str]:
    """Return the parent's pipe, and send whatever llama.cpp may print to the log."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return report


def _start_server(options: argparse.Namespace, key: str) -> Any:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.name}
    params.n_ctx = options.context
    params.cpuparams.n_threads = options.threads
    params.cpuparams_batch.n_threads = options.threads
    params.n_batch = BATCH_TOKENS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    guesser = xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE
    params.speculative.types = [guesser]
    params.speculative.ngram_simple.size_n = COPIED_TOKENS
    params.speculative.ngram_simple.size_m = AHEAD_TOKENS
    _close_doors(params, key)
    return xllamacpp.Server(params)


def _close_doors(params: Any, key: str) -> None:
    """Answer one caller at a time, who is on this machine and knows the key."""
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # a free one
    params.api_keys = [key]
    params.n_parallel = 1  # the whole context for one conversation
    params.ui = False
    params.endpoint_slots = False  # it shows the prompts
    params.offline = True


if __name__ == "__main__":
    main()
