"""The logged model: both forms of input, no pickle; and MLflow's server in front of it."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import registry_world as world
from data_helpers import SHAPE
from PIL import Image

from clarity.layout import Training, anomalies, normals
from clarity.registry.promote import promote
from clarity.score.detector import Detector, Files
from clarity.score.pictures import encode_png
from clarity.score.refusals import Message, Receive, Refusals, Send
from clarity.score.signature import input_example
from clarity.store import open_store


@pytest.fixture
def model(here: Path):
    """Version 3 as anybody loads it."""
    open_store()
    import mlflow

    return mlflow.pyfunc.load_model("models:/clarity/3")


def picture(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_an_array_and_a_frame_of_pictures_give_the_same(model) -> None:
    images = np.concatenate([np.load(normals("test"))[:3], np.load(anomalies("test"))[:3]])
    expected = Detector.load(Files.of_training(Training("pca-8", 0))).judge(images)
    by_array = model.predict(images)
    assert list(by_array.columns) == [
        "score", "threshold", "anomaly", "p_value", "signal_1", "signal_2"
    ]  # fmt: skip
    np.testing.assert_array_equal(by_array["score"], expected.score)
    np.testing.assert_array_equal(by_array["anomaly"], expected.anomaly)
    frame = pd.DataFrame({"image": [encode_png(image) for image in images]})
    asked = {"return_reconstruction": True, "return_error_map": True}
    by_frame = model.predict(frame, params=asked)
    pd.testing.assert_frame_equal(by_frame[list(by_array.columns)], by_array)
    made = picture(by_frame["reconstruction"][0])
    assert made.shape == (64, 64, 3)
    assert np.abs(made.astype(int) - images[0]).mean() < 20
    # An anomaly's error map is brighter than a normal face's.
    assert picture(by_frame["error_map"][5]).mean() > picture(by_frame["error_map"][0]).mean()
    assert len(model.predict(input_example(SHAPE))) == 2


def test_the_version_says_what_it_takes(model) -> None:
    signature = model.metadata.signature
    assert [one.name for one in signature.outputs.inputs][:3] == ["score", "threshold", "anomaly"]
    assert {one.name for one in signature.params.params} == {
        "return_reconstruction",
        "return_error_map",
    }
    assert model.metadata.saved_input_example_info
    folder = Path(model._model_meta.get_model_info().artifact_path.removeprefix("file://"))
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert all("==" in line for line in lines if line)
    assert any(line.startswith("torch==") for line in lines)


@pytest.mark.usefixtures("here")
def test_no_pickle_in_anything_logged() -> None:
    """Every byte of every artifact: no pickle by name, by magic or inside an archive."""
    import zipfile

    files = [path for path in Path("mlruns/artifacts").rglob("*") if path.is_file()]
    assert sum(path.name == "MLmodel" for path in files) == 3
    assert sum(path.suffix == ".safetensors" for path in files) == 6
    for path in files:
        assert path.suffix not in {".pkl", ".pickle", ".pt", ".pth", ".joblib", ".pyc"}, path
        content = path.read_bytes()
        # Protocols 2 to 5 begin with PROTO and a number; torch's archives are ZIP files of them.
        assert not re.match(rb"\x80[\x02-\x05]", content), path
        assert not zipfile.is_zipfile(path), path
        if path.suffix == ".npy":
            assert b"|O" not in content[:128], path
        if path.name == "MLmodel":
            assert "python_model: " not in content.decode(), "a pickled Python model"


@pytest.fixture(scope="session")
def served(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`clarity serve` on a free port; its address."""
    import shutil

    root = tmp_path_factory.mktemp("served") / "project"
    shutil.copytree(published, root)
    command = [sys.executable, "-m", "clarity", "serve", "--port", "0", "--model", "3"]
    environment = {k: v for k, v in world.environment(root).items() if k != "MLFLOW_TRACKING_URI"}
    with subprocess.Popen(
        command, cwd=root, env=environment, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout
        line = server.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, line
        wait(found[0])
        yield found[0]
        os.kill(server.pid, signal.SIGINT)
        rest, _ = server.communicate(timeout=30)
    # Ctrl-C ends it cleanly.
    assert server.returncode == 0
    assert "ended" in rest


def wait(address: str) -> None:
    import time

    for _ in range(600):
        try:
            urllib.request.urlopen(f"{address}/ping", timeout=5)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server does not answer")


def post(
    address: str, body: object, content_type: str | None = "application/json"
) -> tuple[int, dict]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": content_type} if content_type else {}
    request = urllib.request.Request(f"{address}/invocations", data, headers)
    if content_type is None:
        request.add_unredirected_header("Content-type", "")
        request.unredirected_hdrs.pop("Content-type")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def frame(*values: object) -> dict:
    return {"dataframe_split": {"columns": ["image"], "data": [[value] for value in values]}}


def test_pictures_over_http(served: str) -> None:
    images = np.concatenate([world.faces("test", label)[0] for label in (0, 1)])
    status, answer = post(served, frame(*(encode_png(image) for image in images)))
    assert status == 200
    rows = answer["predictions"]
    assert len(rows) == len(images)
    flagged = [row["anomaly"] for row in rows]
    assert sum(flagged[len(images) // 2 :]) > sum(flagged[: len(images) // 2])
    status, answer = post(
        served, {**frame(encode_png(images[0])), "params": {"return_error_map": True}}
    )
    assert picture(answer["predictions"][0]["error_map"]).shape == (64, 64, 3)
    status, by_numbers = post(served, {"inputs": images[:1].tolist()})
    assert status == 200
    # Sums of another batch size differ in their last bits.
    assert by_numbers["predictions"][0]["score"] == pytest.approx(rows[0]["score"], rel=1e-4)
    records = [{"image": encode_png(images[0])}]
    one = post(served, {"dataframe_records": records})[1]["predictions"][0]
    for key, value in rows[0].items():
        assert one[key] == (value if isinstance(value, str) else pytest.approx(value, rel=1e-4))
    status, by_instances = post(served, {"instances": images[:2].tolist()})
    assert status == 200
    assert len(by_instances["predictions"]) == 2


BAD: dict[str, tuple[object, int, str]] = {
    "no JSON": (b"{", 400, "not JSON"),
    "a list": ([1], 400, "no JSON object"),
    "no known key": ({"pictures": []}, 400, "dataframe_split"),
    "two keys": ({**frame("x"), "inputs": []}, 400, "exactly one"),
    "another column": (
        {"dataframe_split": {"columns": ["photo"], "data": [["x"]]}},
        400,
        "image",
    ),
    "no base64": (frame("%%%"), 400, "row 0: not base64"),
    "base64 of no picture": (frame("aGVsbG8="), 400, "row 0: not a picture"),
    "the second row is bad": (frame(encode_png(np.zeros((8, 8, 3), np.uint8)), ""), 400, "row 1"),
    "a number": (frame(7), 400, "expected"),
    "null": (frame(None), 400, "expected"),
    "no rows": (frame(), 400, "no images"),
    "a frame without data": ({"dataframe_split": 3}, 400, "dataframe_split"),
    "another shape": ({"inputs": np.zeros((1, 32, 32, 3), int).tolist()}, 400, "N×64×64×3"),
    "ragged": ({"inputs": [[[1, 2], [3]]]}, 400, "64"),
    "out of range": ({"inputs": np.full((1, 64, 64, 3), 300).tolist()}, 400, "0…255"),
    "another scale": ({"inputs": np.full((1, 64, 64, 3), 2.5).tolist()}, 400, "not in [0, 1]"),
    "text for numbers": ({"inputs": "hello"}, 400, ""),
    "a mapping": ({"inputs": {"image": 3}}, 400, ""),
    "nothing": ({"inputs": []}, 400, "no images"),
    "an unknown parameter": ({**frame("x"), "params": {"colour": 1}}, 400, ""),
    "a parameter of another type": (
        {**frame("x"), "params": {"return_error_map": "please"}},
        400,
        "return_error_map",
    ),
    "parameters that are none": ({**frame("x"), "params": [1]}, 400, "params"),
    "a bomb": (
        frame(base64.b64encode(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x9c\x40\x00\x00\x9c\x40"
              b"\x08\x02\x00\x00\x00").decode()),
        400,
        "row 0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_gets_4xx_and_one_line(served: str, name: str) -> None:
    body, expected, part = BAD[name]
    status, answer = post(served, body)
    assert status == expected, answer
    assert set(answer) == {"error_code", "message"}
    assert part in answer["message"]
    assert "\n" not in answer["message"]
    assert 5 < len(answer["message"]) <= 300
    assert "Traceback" not in answer["message"]


def test_other_kinds_of_bad_request(served: str) -> None:
    assert post(served, b"x", "text/html")[0] == 415
    assert post(served, b"\xff\xfe", "text/csv")[0] in (400, 415)
    assert post(served, b"not,a\nframe", "text/csv")[0] == 400
    status, answer = post(served, b"0" * (65 * 2**20))
    assert status == 413
    assert "MiB" in answer["message"]


def test_the_server_lives_on_under_many_clients(served: str) -> None:
    good = frame(encode_png(world.faces("test", 0)[0][0]))

    def one(number: int) -> int:
        return post(served, frame("%%%") if number % 10 == 0 else good)[0]

    with ThreadPoolExecutor(8) as clients:
        codes = list(clients.map(one, range(200)))
    assert codes == [400 if number % 10 == 0 else 200 for number in range(200)]


@pytest.mark.usefixtures("here")
def test_serving_what_is_not_there_is_one_line() -> None:
    promote(say=lambda _: None)
    for arguments, problem in (
        (["--model", "9"], "no such version"),
        (["--model", "champion", "--port", "99999999"], "port"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "clarity", "serve", *arguments],
            env=world.environment(Path.cwd()),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert problem in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


@pytest.fixture
def guarded() -> Iterator[tuple[int, list[int]]]:
    """`Refusals` in front of an application that says how many requests it was given at once."""
    import asyncio
    import threading

    import uvicorn

    at_once: list[int] = []
    inside = 0

    async def application(scope: Message, receive: Receive, send: Send) -> None:
        nonlocal inside
        if scope["type"] != "http":
            return
        inside += 1
        at_once.append(inside)
        size = len((await receive())["body"])
        await asyncio.sleep(0.3)
        inside -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps({"size": size}).encode()})

    listener = socket.create_server(("127.0.0.1", 0))
    app = Refusals(application, arrival=1.0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield listener.getsockname()[1], at_once
    server.should_exit = True
    thread.join(30)


def test_half_sent_and_large_bodies_are_bounded(guarded: tuple[int, list[int]]) -> None:
    port, at_once = guarded
    address = f"http://127.0.0.1:{port}"
    head = "POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    half = []
    for part in (b"", b"[1", b" " * 2**21) * 10:
        client = socket.create_connection(("127.0.0.1", port), timeout=60)
        client.sendall(f"{head}Content-Length: {2**25}\r\n\r\n".encode())
        if len(part) < 9:
            client.sendall(part)
            half.append(client)
        else:
            client.close()  # gone in the middle of a large one: its place is free again
    large = {"dataframe_split": {"columns": ["image"], "data": [["A" * 2**21]]}}
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: post(address, large), range(4)))
    assert [status for status, _ in answers] == [200] * 4
    assert max(at_once) == 1, "large ones come in turn"
    for client in half:
        with client:
            answer = client.recv(10**4)
            assert answer.startswith(b"HTTP/1.1 408"), answer
            assert b"did not arrive" in answer + client.recv(10**4)
            assert client.recv(1) == b"", "closed"
    status, refused = post(address, {"inputs": [0] * 10**6})
    assert (status, "values" in refused["message"]) == (413, True)
