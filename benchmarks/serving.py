"""The served model against the bare one: p95 of single images; and many requests by many clients.

    python benchmarks/serving.py --model champion --requests 10000 --clients 8

Run it in a project with a published version. The bare model scores one image (forward pass, score,
threshold) in this process; the server is `clarity serve`, started here on a free port. Both are
asked in turns, so that whatever else the machine does slows both alike. Then `--requests` requests
go out from `--clients` clients at once, each on a connection kept open; every answer must be 200.

    python benchmarks/serving.py --minutes 60 --out benchmarks/soak.json

With `--minutes` it is a soak instead: that long, `--clients` clients ask for single images and
batches without a pause, `--bad` others send nothing but what has to be refused (`BAD`), and one
asks for a single image every fifth of a second, as a user beside them would. Written are memory of
the server at the start, after a tenth, in the middle and at the end, how long good requests took,
and answers by status. It fails where a good request was not answered by 200 or a bad one by 4xx.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil

from clarity.files import write_json
from clarity.score.pictures import encode_png
from clarity.score.registered import load_registered
from clarity.score.signature import COLUMN

WARM_UP = 20
#: Images in a batch of the soak.
BATCH = 32
#: Seconds between the requests of the one who asks now and then.
PAUSE = 0.2
JSON = "application/json"


class Client:
    """One connection, kept open."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = http.client.HTTPConnection(host, port, timeout=120)

    def post(self, body: bytes, kind: str = JSON) -> int:
        headers = {"Content-Type": kind}
        self.connection.request("POST", "/invocations", body, headers)
        answer = self.connection.getresponse()
        answer.read()
        return answer.status


def request_of(*images: np.ndarray) -> bytes:
    frame = {"columns": [COLUMN], "data": [[encode_png(image)] for image in images]}
    return json.dumps({"dataframe_split": frame}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="champion")
    parser.add_argument("--singles", type=int, default=300)
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--minutes", type=float, help="soak for so long instead")
    parser.add_argument("--bad", type=int, default=2, help="clients of the soak that send nonsense")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/soak.json"))
    options = parser.parse_args()
    detector = load_registered(options.model).detector
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, *detector.shape.stored), dtype=np.uint8)
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
            if options.minutes:
                result = Soak(host, port, server.pid, detector.shape.stored).run(options)
                print(json.dumps(result, indent=2))
                write_json(options.out, result)
                raise SystemExit(bool(result["wrong"]))
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


def bad(picture: bytes) -> Iterator[tuple[str, bytes]]:
    """Content type and body of what has to be refused, by turns; ``picture`` is a good one."""
    frame = {"columns": [COLUMN], "data": [["AAAA"]]}
    numbers = b'{"inputs": [' + b"0," * 2_000_000 + b"0]}"
    bodies = [
        (JSON, b"not JSON"),
        (JSON, b"[" * 100_000),
        (JSON, picture[:-40]),
        (JSON, json.dumps({"dataframe_split": frame}).encode()),
        (JSON, json.dumps({"dataframe_split": {**frame, "columns": ["picture"]}}).encode()),
        (JSON, b'{"inputs": [[1, 2], [3]]}'),
        (JSON, b'{"inputs": {"image": [{}]}}'),
        (JSON, numbers),
        (JSON, bytes(70 * 2**20)),
        ("image/png", b"\x89PNG"),
        ("text/csv", b"other\n1\n"),
    ]
    return cycle(bodies)


class Soak:
    """Full load, nonsense, and somebody in between, until the time is over."""

    def __init__(self, host: str, port: int, pid: int, shape: tuple[int, ...]) -> None:
        self.place = host, port
        self.server = psutil.Process(pid)
        images = np.random.default_rng(0).integers(0, 256, (BATCH, *shape), dtype=np.uint8)
        self.one, self.many = request_of(images[0]), request_of(*images)
        self.lock = threading.Lock()
        self.statuses: dict[str, Counter[int]] = {"good": Counter(), "bad": Counter()}
        self.seconds: dict[str, list[float]] = {"under load": [], "now and then": []}

    def run(self, options: argparse.Namespace) -> dict[str, object]:
        """The result, as it is written."""
        length = 60 * options.minutes
        memory = {"start": self.memory()}
        began = time.monotonic()
        self.end = began + length
        with ThreadPoolExecutor(options.clients + options.bad + 1) as pool:
            tasks = [pool.submit(self.load) for _ in range(options.clients)]
            tasks += [pool.submit(self.nonsense, start) for start in range(options.bad)]
            tasks.append(pool.submit(self.now_and_then))
            for name, share in (("after a tenth", 0.1), ("middle", 0.5), ("end", 1.0)):
                time.sleep(max(0.0, began + share * length - time.monotonic()))
                memory[name] = self.memory()
            for task in tasks:
                task.result()
        good, refused = self.statuses["good"], self.statuses["bad"]
        wrong = sum(n for status, n in good.items() if status != 200)
        wrong += sum(n for status, n in refused.items() if not 400 <= status < 500)
        return {
            "minutes": options.minutes,
            "clients": {"under load": options.clients, "bad": options.bad, "now and then": 1},
            "memory in MB": memory,
            "seconds of good requests": {
                name: dict(
                    zip(
                        ("p50", "p95", "slowest"),
                        np.percentile(found, [50, 95, 100]).round(3).tolist(),
                        strict=True,
                    )
                )
                for name, found in self.seconds.items()
            },
            "answers": {name: dict(sorted(found.items())) for name, found in self.statuses.items()},
            "wrong": wrong,
        }

    def memory(self) -> int:
        return round(self.server.memory_info().rss / 1e6)

    def load(self) -> None:
        client = Client(*self.place)
        for body in cycle([self.one] * 9 + [self.many]):
            if not self.timed("under load", client, body):
                return

    def now_and_then(self) -> None:
        client = Client(*self.place)
        while self.timed("now and then", client, self.one):
            time.sleep(PAUSE)

    def timed(self, name: str, client: Client, body: bytes) -> bool:
        """One good request; whether there is time for more."""
        start = time.monotonic()
        status = client.post(body)
        took = time.monotonic() - start
        with self.lock:
            self.statuses["good"][status] += 1
            self.seconds[name].append(took)
        return time.monotonic() < self.end

    def nonsense(self, start: int) -> None:
        bodies = bad(self.one)
        for _ in range(5 * start):
            next(bodies)
        while time.monotonic() < self.end:
            kind, body = next(bodies)
            # Anew each time: an answer in mid-body closes the connection.
            status = Client(*self.place).post(body, kind)
            with self.lock:
                self.statuses["bad"][status] += 1


if __name__ == "__main__":
    main()
