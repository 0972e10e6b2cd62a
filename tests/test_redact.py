"""No password or token of an address is printed, however it is written."""

from __future__ import annotations

import pytest

from clarity.errors import ClarityError
from clarity.redact import printable, redact, without_account


@pytest.mark.parametrize(
    "address",
    [
        "http://user:SECRET1@host:5000/path",
        "postgresql+psycopg2://user:SEC/RET1@host/db",
        "postgresql://user:SECR@ET1@host/db",
        "http://SECRET1@host/",
        "https://host/api?token=SECRET1",
        "https://host/api?a=1&api_key=SECRET1#x",
        "s3://KEY:SECRET1@bucket/x",
    ],
)
def test_addresses_are_shown_without_their_secrets(address: str) -> None:
    for text in (address, f"clarity: {address}: does not answer", f"<{address}>"):
        shown = redact(text)
        for part in ("SECRET1", "SEC/RET1", "SECR@ET1", "ET1"):
            assert part not in shown
    assert "host" in redact(address) or "bucket" in redact(address)
    assert "SECRET1" not in str(ClarityError(f"{address}: no"))


def test_a_link_leads_to_the_server_without_an_account() -> None:
    for address in (
        "https://ada:SEC/RET1@host:5000/mlflow/",
        "https://SECRET1@host:5000/mlflow?token=SECRET1",
        "https://host:5000/mlflow",
    ):
        assert without_account(address) == "https://host:5000/mlflow"


def test_plain_text_stays_as_it_is() -> None:
    text = "sqlite:///home/a@b/mlflow.db: not readable; run `dvc repro` (exit code=2)"
    assert redact(text) == text
    assert printable("two\nlines\x1b[31m") == "two lines�[31m"
