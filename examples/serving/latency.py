"""How long the service takes: ``python latency.py http://127.0.0.1:8000 users.txt items.txt``.

One client asks again and again, over one connection, for the scores of random candidates of a
random user. The files have an id a line. A service whose model reads fields of a row needs them:
``--context='{"device": "tv"}'``. Times are those of the client, in milliseconds; with ``--pid`` of
the service the CPU time that it took for a request stands behind them (Linux), which does not
depend on what else the machine does.
"""

import argparse
import json
import math
import os
import random
import time
from pathlib import Path

import httpx

SHARES = (0.5, 0.9, 0.99)


def milliseconds(client: httpx.Client, bodies: list[dict]) -> list[float]:
    """Wall times of one request after the other, sorted."""
    times = []
    for body in bodies:
        began = time.perf_counter()
        client.post("/score", json=body).raise_for_status()
        times.append(1000 * (time.perf_counter() - began))
    return sorted(times)


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process so far, all its threads."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("users", type=Path)
    parser.add_argument("items", type=Path)
    parser.add_argument("--context", type=json.loads, default={})
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--pid", type=int)
    asked = parser.parse_args()
    users, items = (path.read_text().split("\n") for path in (asked.users, asked.items))
    users, items = [u for u in users if u], [i for i in items if i]
    draw = random.Random(0)
    print(f"load average {os.getloadavg()[0]:.2f}, {asked.requests} requests each")
    print(
        "candidates  "
        + "".join(f"{f'p{100 * share:g}':>9}" for share in SHARES)
        + "     most      CPU"
    )
    with httpx.Client(base_url=asked.url, timeout=60) as client:
        for n in (1, 100, 1000):
            bodies = [
                {"user": draw.choice(users), "candidates": draw.choices(items, k=n),
                 "context": asked.context}
                for _ in range(asked.requests + 20)
            ]  # fmt: skip
            milliseconds(client, bodies[:20])  # the first ones warm caches up
            began = cpu_seconds(asked.pid) if asked.pid else 0.0
            times = milliseconds(client, bodies[20:])
            spent = 1000 * (cpu_seconds(asked.pid) - began) / len(times) if asked.pid else math.nan
            found = [times[int(share * (len(times) - 1))] for share in SHARES]
            print(f"{n:>10}  " + "".join(f"{each:9.2f}" for each in (*found, times[-1], spent)))


if __name__ == "__main__":
    main()
