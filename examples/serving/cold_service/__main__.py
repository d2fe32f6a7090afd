"""``python -m cold_service --store=store --model=saved/RUN/METHOD/model [--port=8000]``."""

import argparse
import socket
import sys
from pathlib import Path

import uvicorn

from cold_service.app import create_app
from cold_service.service import Service
from cold_service.store import Failed, Store


def rows(text: str) -> int:
    """
    Raises:
        argparse.ArgumentTypeError: there is no such number of rows that are worth a phase.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of rows from 1 on")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m cold_service")
    parser.add_argument("--store", required=True, type=Path, help="folder of this service")
    parser.add_argument("--model", type=Path, help="a kept model, to begin a new store with")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", default=8000, type=int, help="0: any that is free")
    parser.add_argument(
        "--grow_after",
        default=100,
        type=rows,
        help="rows of new items that are worth a phase, from 1 on",
    )
    asked = parser.parse_args()
    try:
        store = Store(asked.store)
        if store.current is None:
            if asked.model is None:
                raise Failed(f"'{asked.store}' has no model yet; give --model")
            store.begin(asked.model)
        elif asked.model is not None:
            raise Failed(f"'{asked.store}' has a model already; leave --model out")
        service = Service(store, asked.grow_after)
        listener = socket.create_server((asked.host, asked.port))
    except (Failed, OSError, OverflowError, ValueError) as error:  # a port of 70000
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"listening on http://{asked.host}:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(create_app(service), log_level="warning")).run([listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
