"""The served model against the bare one: p95 of single images; and many requests by many clients.

    python benchmarks/serving.py --model champion --requests 10000 --clients 8

Run it in a project with a published version. The bare model scores one image (forward pass, score,
threshold) in this process; the server is `clarity serve`, started here on a free port. Both are
asked in turns, so that whatever else the machine does slows both alike. Then `--requests` requests
go out from `--clients` clients at once, each on a connection kept open; every answer must be 200.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from clarity.score.pictures import encode_png
from clarity.score.registered import load_registered
from clarity.score.signature import COLUMN

WARM_UP = 20


class Client:
    """One connection, kept open."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=120)

    def post(self, body: bytes) -> int:
        headers = {"Content-Type": "application/json"}
        self.connection.request("POST", "/invocations", body, headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


def request_of(image: np.ndarray) -> bytes:
    frame = {"columns": [COLUMN], "data": [[encode_png(image)]]}
    return json.dumps({"dataframe_split": frame}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="champion")
    parser.add_argument("--singles", type=int, default=300)
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    detector = load_registered(options.model).detector
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    body = request_of(image[0])
    command = [sys.executable, "-m", "clarity", "serve", "--port", "0", "--model", options.model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout
            line = server.stdout.readline()
            found = re.search(r"http://([\d.]+):(\d+)", line)
            if found is None:
                raise SystemExit(f"the server did not start: {line}")
            host, port = found[1], int(found[2])
            alternately(detector, image, Client(host, port), body, options.singles)
            many(host, port, body, options.requests, options.clients)
        finally:
            server.terminate()


def alternately(detector: object, image: np.ndarray, client: Client, body: bytes, n: int) -> None:
    bare, served = [], []
    for step in range(n + WARM_UP):
        start = time.perf_counter()
        detector.judge(image)  # type: ignore[attr-defined]
        middle = time.perf_counter()
        status = client.post(body)
        end = time.perf_counter()
        assert status == 200, status
        if step >= WARM_UP:
            bare.append(middle - start)
            served.append(end - middle)
    (b50, b95), (s50, s95) = (np.percentile(x, [50, 95]) * 1000 for x in (bare, served))
    print(f"single image, {n} in turns: bare p50 {b50:.1f} ms, p95 {b95:.1f} ms")
    print(f"                     served p50 {s50:.1f} ms, p95 {s95:.1f} ms: {s95 / b95:.2f} times")


def many(host: str, port: int, body: bytes, requests: int, clients: int) -> None:
    def one(share: int) -> list[int]:
        client = Client(host, port)
        return [client.post(body) for _ in range(share)]

    shares = [requests // clients + (k < requests % clients) for k in range(clients)]
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        codes = [code for some in pool.map(one, shares) for code in some]
    seconds = time.perf_counter() - start
    wrong = sum(code != 200 for code in codes)
    rate = len(codes) / seconds
    print(f"{len(codes):,} requests, {clients} clients: {wrong} not 200, {rate:.0f} a second")


if __name__ == "__main__":
    main()
