"""Through the gate and back, with a real MLflow store."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import registry_world as world

from clarity.errors import ClarityError
from clarity.registry.backfill import publish
from clarity.registry.promote import promote, rollback
from clarity.registry.versions import Registry
from clarity.store import open_store


def aliases() -> dict[str, int]:
    return Registry(open_store(), "clarity").aliases()


def events(*wanted: str) -> list[tuple]:
    return [
        (one["event"], one["alias"], one["from"], one["to"])
        for one in world.entries()
        if one["event"] in (wanted or ("promote", "challenge", "rollback", "adopt"))
    ]


def said(function, *arguments: object) -> str:
    lines: list[str] = []
    function(*arguments, say=lines.append)
    return "\n".join(lines)


@pytest.mark.usefixtures("here")
def test_the_first_champion_is_the_best_on_val_and_is_recorded() -> None:
    told = said(promote)
    assert "first champion" in told
    assert aliases() == {"champion": 3}
    assert events() == [("promote", "champion", None, 3)]
    # Every version's number is remembered with what it was.
    registered = [one for one in world.entries() if one["event"] == "register"]
    assert [one["to"] for one in registered] == [1, 2, 3]
    assert all(len(next(iter(one["identities"].values()))) == 64 for one in registered)
    # Asked again, nothing moves and nothing is written.
    before = Path("registry/history.jsonl").read_bytes()
    assert "champion already" in said(promote)
    assert Path("registry/history.jsonl").read_bytes() == before


@pytest.mark.usefixtures("here")
def test_a_worse_challenger_stays_challenger_with_the_reason_on_the_version() -> None:
    promote("3")
    told = said(promote, "2")
    assert "not promoted" in told
    assert aliases() == {"champion": 3, "challenger": 2}
    version = open_store().get_model_version("clarity", "2")
    assert version.tags["gate"] == "refused"
    assert "margin 0.005: worse" in version.tags["gate.reason"]
    assert "people" in version.tags["gate.reason"]
    assert version.description is not None
    assert "### Gate" in version.description
    numbers = world.entries()[-1]["numbers"]
    assert numbers["improvement"] < 0
    assert numbers["people"] == world.PEOPLE["gate"]


@pytest.mark.usefixtures("here")
def test_a_better_challenger_becomes_champion_and_gives_up_its_other_alias() -> None:
    promote("2")
    told = said(promote)
    assert "champion: version 3" in told
    assert aliases() == {"champion": 3}
    assert events() == [("promote", "champion", None, 2), ("promote", "champion", 2, 3)]
    entry = world.entries()[-1]
    assert entry["numbers"]["lower_bound"] > 0.005
    assert set(entry["identities"]) == {"2", "3"}


def test_an_equal_challenger_is_refused(here: Path) -> None:
    promote("3")
    world.write_params(["pca-8", "pca-8-again"])
    world.write_training("pca-8-again", jitter=1e-4)
    world.write_reports(["pca-8", "pca-8-again"])
    publish()
    assert "not promoted" in said(promote, "4")
    assert aliases() == {"champion": 3, "challenger": 4}


@pytest.mark.usefixtures("here")
def test_a_broken_guard_keeps_a_better_model_from_the_post() -> None:
    promote("2")
    world.write_params(
        ["pca-2", "pca-4", "pca-8"],
        guards={
            "false_alarms": 0.02,
            "latency": 50.0,
            "size": 1.1,
        },
    )
    told = said(promote, "3")
    assert "guard broken" in told
    assert "gate.guards.size" in told
    assert aliases() == {"champion": 2, "challenger": 3}


@pytest.mark.usefixtures("here")
def test_rolling_back_twice_goes_back_two_and_passes_the_withdrawn_over() -> None:
    promote("1")
    world.write_params(["pca-2", "pca-4", "pca-8"], margin=0.0)
    promote("2")
    promote("3")
    stack = [one["to"] for one in world.entries() if one["event"] == "promote"]
    assert stack[-1] == 3
    said(rollback, "wrong alarms at night")
    assert aliases()["champion"] == stack[-2]
    assert world.entries()[-1]["why"] == "wrong alarms at night"
    # The gate would promote 3 again at once; it is passed over until it is named.
    assert "rolled back and is passed over" in said(promote)
    assert aliases()["champion"] == stack[-2]
    assert open_store().get_model_version("clarity", "3").tags["gate"] == "rolled back"
    promote("3")
    assert aliases()["champion"] == 3
    rollback(say=lambda _: None)
    if len(stack) == 3:
        rollback(say=lambda _: None)
    assert aliases()["champion"] == stack[0]
    with pytest.raises(ClarityError, match="no earlier champion"):
        rollback()


@pytest.mark.usefixtures("here")
def test_a_challenger_that_a_rollback_makes_champion_challenges_no_more() -> None:
    promote("2")
    world.write_params(["pca-2", "pca-4", "pca-8"], margin=0.0)
    promote("3")
    assert aliases() == {"champion": 3}
    world.write_params(["pca-2", "pca-4", "pca-8"], margin=0.5)
    promote("2")
    assert aliases() == {"champion": 3, "challenger": 2}
    said(rollback)
    assert aliases() == {"champion": 2}


@pytest.mark.usefixtures("here")
def test_changed_data_both_are_scored_on_the_present_split_and_it_is_said() -> None:
    promote("2")
    world.write_data(data_seed=5)
    world.write_params(["pca-8"])
    world.write_training("pca-8")
    world.write_reports(["pca-8"])
    publish()
    told = said(promote)
    assert "the data changed" in told
    assert "scored on the present gate split" in told
    assert aliases()["champion"] == 4


@pytest.mark.usefixtures("here")
def test_a_champion_that_cannot_be_loaded_gives_way_to_the_latest_that_can() -> None:
    promote("2")
    promote("3")
    from clarity.score.registered import files_of

    weights = files_of("clarity", 3).weights
    weights.write_bytes(weights.read_bytes()[:100])
    # A worse challenger must not take the post for want of a champion.
    told = said(promote, "1")
    assert "cannot be loaded" in told
    assert aliases() == {"champion": 2, "challenger": 1}
    assert events()[-1][:1] == ("rollback",)


@pytest.mark.usefixtures("here")
def test_no_champion_ever_loads_the_challenger_takes_the_post() -> None:
    promote("1")
    from clarity.score.registered import files_of

    files_of("clarity", 1).weights.unlink()
    told = said(promote, "2")
    assert "no earlier champion loads either" in told
    assert aliases()["champion"] == 2


@pytest.mark.usefixtures("here")
def test_an_alias_moved_by_hand_is_taken_over_and_recorded() -> None:
    promote("2")
    open_store().set_registered_model_alias("clarity", "champion", "1")
    said(promote, "3")
    assert ("adopt", "champion", 2, 1) in events()
    assert events()[-1] == ("promote", "champion", 1, 3)


@pytest.mark.usefixtures("here")
def test_a_move_that_was_cut_off_is_completed_by_the_next_command() -> None:
    from clarity.registry import moves
    from clarity.registry.history import History

    promote("2")
    real, moves._complete = moves._complete, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt())
    try:
        with pytest.raises(KeyboardInterrupt):
            promote("3")
    finally:
        moves._complete = real
    assert aliases()["champion"] == 2  # decided, not carried out
    said(rollback)
    # First 3 got the post, then it was rolled back: nothing lost, nothing doubled.
    assert events() == [
        ("promote", "champion", None, 2),
        ("promote", "champion", 2, 3),
        ("rollback", "champion", 3, 2),
    ]
    assert History().champions == [2]


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_two_promotions_at_once_move_the_alias_once() -> None:
    promote("2")
    command = [sys.executable, "-m", "clarity", "promote", "--version", "3"]
    both = [
        subprocess.Popen(command, env=world.environment(Path.cwd()), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [one.communicate()[0].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert events().count(("promote", "champion", 2, 3)) == 1
    assert sum("champion already" in one for one in told) == 1


def test_backfill_gives_the_same_numbers_aliases_and_verdicts(
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote("2")
    promote("3")
    promote("1")
    before = Path("registry/history.jsonl").read_bytes()
    client = open_store()
    identities = {
        one.number: one.identity for one in Registry(client, "clarity").versions().values()
    }

    def numbers() -> dict[str, float]:
        run_id = client.get_model_version("clarity", "3").run_id
        assert run_id is not None
        return client.get_run(run_id).data.metrics

    metrics = numbers()

    # Version 2's outputs are gone from the workspace; its number must not go to another model.
    # (In another folder: MLflow keeps a lost database open for as long as a process lives.)
    lost = ["mlruns", "pca-4-0"]
    again = shutil.copytree(here, tmp_path / "again", ignore=shutil.ignore_patterns(*lost))
    monkeypatch.chdir(again)
    world.write_params(["pca-8", "pca-2"])
    world.write_reports(["pca-8", "pca-2"])
    from clarity.registry.backfill import backfill

    told = said(backfill)
    client = open_store()
    found = Registry(client, "clarity")
    assert {n: v.identity for n, v in found.versions().items()} == {
        n: identity for n, identity in identities.items() if n != 2
    }
    assert found.aliases() == {"champion": 3, "challenger": 1}
    assert client.get_model_version("clarity", "1").tags["gate"] == "refused"
    assert "versions 2" in told
    refilled = numbers()
    assert {k: v for k, v in refilled.items() if k.startswith("test/")} == {
        k: v for k, v in metrics.items() if k.startswith("test/")
    }
    assert Path("registry/history.jsonl").read_bytes() == before
    # A new training gets a new number, also after a second loss.
    world.write_params(["pca-8", "pca-2", "pca-6"])
    world.write_training("pca-6")
    world.write_reports(["pca-8", "pca-2", "pca-6"])
    publish()
    assert sorted(found.versions()) == [1, 3, 4]


@pytest.mark.usefixtures("here")
def test_a_foreign_store_is_refused_in_one_line() -> None:
    promote("2")
    lines = Path("registry/history.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    first["identities"] = {"1": "f" * 64}
    Path("registry/history.jsonl").write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")
    with pytest.raises(ClarityError, match="do not belong together"):
        promote("3")


@pytest.mark.usefixtures("here")
def test_mistakes_are_one_line() -> None:
    with pytest.raises(ClarityError, match="no champion yet"):
        rollback()
    with pytest.raises(ClarityError, match=r"version 9 .* does not exist"):
        promote("9")
    with pytest.raises(ClarityError, match="no such alias"):
        promote("winner")
    promote("2")
    with Path("registry/history.jsonl").open("a") as handle:
        handle.write("<<<<<<< HEAD\n")
    with pytest.raises(ClarityError, match=r"history.jsonl:5: .*git checkout"):
        promote("3")
