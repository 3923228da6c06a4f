"""The server that the embedded endpoint is compared with: xllamacpp alone, one streamed question.

Reads {"model", "context", "batch", "cache_mib", "body"} from the file that is named, starts the
server, asks by http.client, and prints what the server and the clock say of the writing.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import xllamacpp


def main() -> None:
    """Ask once; the server ends with this process."""
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    params = xllamacpp.CommonParams()
    params.model.path = job["model"]
    params.n_ctx = job["context"]
    params.n_batch = job["batch"]
    params.cache_ram_mib = job["cache_mib"]
    params.n_parallel = 1
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    server = xllamacpp.Server(params)
    print(json.dumps(_ask(server.listening_address, job["body"])), flush=True)
    os._exit(0)  # the server's destructor takes seconds


def _ask(address: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(address).netloc)
    connection.request(
        "POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"}
    )
    response = connection.getresponse()
    first, text = 0.0, ""
    timings: dict[str, Any] = {}
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        for choice in event["choices"]:
            text += choice["delta"].get("content") or ""
            first = first or (time.monotonic() if text else 0.0)
        timings = event.get("timings", timings)
    tokens = timings["predicted_n"]
    seconds = time.monotonic() - first
    return {
        "text": text,
        "tokens": tokens,
        "server_per_s": timings["predicted_per_second"],
        "client_per_s": tokens / seconds,
    }


if __name__ == "__main__":
    main()
