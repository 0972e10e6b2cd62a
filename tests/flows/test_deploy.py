"""Deployments, their schedules and the pools' templates on a real server."""

from __future__ import annotations

import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import toy
from test_reproduce import post
from tools import AUTH, Run, environment, serving, until


@pytest.fixture
def deployable(project: Path) -> Path:
    """The toy with the real flows and deployments."""
    return toy.with_flows(project)


def test_every_parameter_is_explained_and_schedules_make_runs(
    deployable: Path, run: Run, server: str
) -> None:
    """With other versions of fastapi the server does not start or refuses the deployment, with
    other versions of SQLAlchemy no run is ever made: pyproject.toml pins both."""
    done = run(sys.executable, "-m", "pipelines.deploy", PREFECT_API_URL=server)
    assert done.returncode == 0, done.stderr
    deployments = {one["name"]: one for one in post(server, "/deployments/filter")}
    assert {"nightly", "weekly", "quarter-hourly"} <= set(deployments)
    for name in ("nightly", "weekly", "quarter-hourly"):
        deployment = deployments[name]
        schema = deployment["parameter_openapi_schema"]["properties"]
        assert all(entry.get("description") for entry in schema.values()), schema
        assert deployment["global_concurrency_limit"]["limit"] == 1
        assert deployment["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
        assert len(deployment["schedules"]) == 1
    names = [one["name"] for one in post(server, "/automations/filter")]
    assert names.count("Retrain when drift lasts") == 1
    ids = [deployments["quarter-hourly"]["id"]]
    until(
        lambda: post(
            server,
            "/flow_runs/filter",
            deployments={"id": {"any_": ids}},
            flow_runs={"state": {"type": {"any_": ["SCHEDULED"]}}},
        ),
        60,
        "the scheduler makes runs of the schedule",
    )
    pause_and_deploy_again(deployments, run, server)
    # Another project on the same server is told of its choices, and changes nothing.
    other = toy.with_flows(toy.make(deployable.parent / "other"))
    command = [sys.executable, "-m", "pipelines.deploy"]
    env = environment(PREFECT_API_URL=server)
    refused = subprocess.run(command, cwd=other, env=env, capture_output=True, text=True)
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert f":{deployable};" in line
    assert "--port" in line
    assert "--take-over" in line
    # Where the first one is gone (it was moved, say) nobody stands in the way.
    (deployable / "dvc.yaml").rename(deployable / "dvc.yml")
    code = "from pathlib import Path; from pipelines.processes.standing import claim; "
    code += "claim(Path.cwd(), take_over=False, say=print)"
    command = [sys.executable, "-c", code]
    moved = subprocess.run(command, cwd=other, env=env, capture_output=True, text=True)
    assert moved.stdout == f"took over the deployments of {os.uname().nodename}:{deployable}\n"


def pause_and_deploy_again(deployments: dict, run: Run, server: str) -> None:
    """What a person paused stays paused over a deployment, and is said aloud."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    weekly, nightly = deployments["weekly"], deployments["nightly"]
    (automation,) = [
        one
        for one in post(server, "/automations/filter")
        if one["name"] == "Retrain when drift lasts"
    ]
    with temporary_settings({PREFECT_API_URL: server}), get_client(sync_client=True) as client:
        schedule = weekly["schedules"][0]["id"]
        client.update_deployment_schedule(weekly["id"], schedule, active=False)
        client.pause_deployment(nightly["id"])
        client.pause_automation(automation["id"])
    again = run(sys.executable, "-m", "pipelines.deploy", PREFECT_API_URL=server)
    assert again.returncode == 0, again.stderr
    assert "retrain/weekly: its schedule weekly stays paused" in again.stdout
    assert "reproduce/nightly stays paused" in again.stdout
    assert "automation 'Retrain when drift lasts' stays disabled" in again.stdout
    now = {one["name"]: one for one in post(server, "/deployments/filter")}
    assert [one["active"] for one in now["weekly"]["schedules"]] == [False]
    assert [one["active"] for one in now["quarter-hourly"]["schedules"]] == [True]
    assert (now["nightly"]["paused"], now["weekly"]["paused"]) == (True, False)
    (automation,) = [
        one
        for one in post(server, "/automations/filter")
        if one["name"] == "Retrain when drift lasts"
    ]
    assert automation["enabled"] is False


def test_a_port_that_is_taken_is_named_with_another(deployable: Path, run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for name, problem in ((port, "Address already in use"), ("99999", "0-65535")):
            done = run(sys.executable, "-m", "pipelines.serve", "--port", name)
            assert done.returncode == 2
            (line,) = done.stderr.splitlines()
            assert problem in line
            assert "pipelines.serve --port " in line
    named = run(sys.executable, "-m", "pipelines.serve", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert named.returncode == 2
    assert "unset PREFECT_API_URL" in named.stderr


def test_nobody_without_the_secret_may_ask_the_server_for_anything(
    deployable: Path, tmp_path: Path
) -> None:
    """Whoever may make a deployment runs commands here: another account, a page in a browser."""
    deployment = {"name": "x", "flow_id": "0" * 32, "pull_steps": [{"run": "id"}]}
    asked: tuple[tuple[str, str, dict | None], ...] = (
        ("POST", "/deployments/", deployment),
        ("POST", "/flows/", {"name": "x"}),
        ("POST", "/flow_runs/filter", {}),
        ("GET", "/admin/settings", None),
    )
    foreign = {"Origin": "http://evil.example", "Host": "evil.example:4200"}
    env = environment()
    with serving(deployable, tmp_path / "serve.log", env) as api:
        for method, path, body in asked:
            for headers in ({}, foreign, {"Authorization": "Basic eDp4"}):
                answer = httpx.request(method, f"{api}{path}", json=body, headers=headers)
                assert answer.status_code in (401, 403), (path, answer.text)
                assert answer.headers.get("access-control-allow-origin") in (None, "")
        preflight = httpx.options(
            f"{api}/deployments/",
            headers={**foreign, "Access-Control-Request-Method": "POST"},
        )
        assert preflight.headers.get("access-control-allow-origin") is None
        assert [flow["name"] for flow in post(api, "/flows/filter")]
        key = deployable / ".prefect" / "server.key"
        assert key.stat().st_mode & 0o077 == 0
        assert key.read_text() not in (tmp_path / "serve.log").read_text()
        listed = subprocess.run(
            [sys.executable, "-m", "prefect", "deployment", "ls"],
            cwd=deployable, env={**env, "PREFECT_API_URL": api}, capture_output=True, text=True,
        )  # fmt: skip
        assert "reproduce/nightly" in listed.stdout
        stranger = toy.make(tmp_path / "stranger")
        for shown, said in (({}, "asks for a secret"), ({AUTH: "a:b"}, "does not take the secret")):
            refused = subprocess.run(
                [sys.executable, "-m", "pipelines.reproduce"],
                cwd=stranger, env=environment(PREFECT_API_URL=api, **shown),
                capture_output=True, text=True,
            )  # fmt: skip
            assert refused.returncode == 2
            (line,) = refused.stderr.splitlines()
            assert said in line


def test_a_server_older_than_its_client_is_one_line(run: Run) -> None:
    class Old(BaseHTTPRequestHandler):
        """What a server of Prefect 3.1 says of itself."""

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true" if self.path.endswith("/health") else b'"3.1.15"')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Old) as old:
        threading.Thread(target=old.serve_forever, daemon=True).start()
        api = f"http://127.0.0.1:{old.server_port}/api"
        for command in ("reproduce", "worker", "deploy"):
            refused = run(sys.executable, "-m", f"pipelines.{command}", PREFECT_API_URL=api)
            assert refused.returncode == 2
            (line,) = refused.stderr.splitlines()
            assert "a server of Prefect 3.1.15, older than the 3." in line
        old.shutdown()


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_pool_templates_are_valid_and_every_placeholder_is_a_variable(kind: str) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate

    text = (toy.PROJECT / "pipelines" / "pools" / f"{kind}.json").read_text()
    template = json.loads(text)
    WorkPoolCreate(name="pool", type=kind, base_job_template=template)
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_runs_at_fifteen_second_intervals_each_fire_once(
    deployable: Path, tmp_path: Path
) -> None:
    runs = 20
    text = (deployable / "prefect.yaml").read_text()
    text = text.replace('cron: "0 2 * * *"\n        timezone: UTC', "interval: 15")
    (deployable / "prefect.yaml").write_text(text)
    with serving(deployable, tmp_path / "serve.log", environment()) as api:
        # Other schedules fire, too, where a quarter of an hour begins.
        mine = {"deployments": {"name": {"any_": ["nightly"]}}, "limit": 200}
        ended = {"flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        until(
            lambda: len(post(api, "/flow_runs/filter", **mine, **ended)) >= runs,
            runs * 15 + 300,
            "twenty runs have ended",
        )
        found = post(api, "/flow_runs/filter", **mine)
    due = sorted(
        one["expected_start_time"]
        for one in found
        if one["state"]["type"] in ("COMPLETED", "RUNNING", "PENDING", "CANCELLED", "FAILED")
    )
    assert len(due) == len(set(due)), "none doubled"
    assert len(due) >= runs
    seconds = [time.mktime(time.strptime(one[:19], "%Y-%m-%dT%H:%M:%S")) for one in due[:runs]]
    gaps = [b - a for a, b in itertools.pairwise(seconds)]
    assert set(gaps) == {15.0}, "none left out"
