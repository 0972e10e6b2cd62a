"""What the project in the working directory is judged to show."""

from __future__ import annotations

from clarity.compare import spectrum, table, verdicts
from clarity.compare.clearer import clearer
from clarity.compare.findings import find
from clarity.compare.reading import load_results
from clarity.compare.results import Results
from clarity.compare.vae_claims import vae_claims
from clarity.params import load_params


def judged() -> dict:
    params = load_params()
    results = load_results(params)
    claims = clearer(results, params.compare) + vae_claims(results, params.compare)
    return verdicts.as_data(claims, find(results, params.compare), results)


def rows(results: Results) -> list[dict]:
    compare = load_params().compare
    return table.rows(results, compare, spectrum.curves(results, compare.confidence))


def asked(data: dict, question: str) -> dict:
    return next(c for c in data["claims"] if c["question"] == question)


def status(data: dict, claim: str, population: str, question: str = "alike") -> dict[str, str]:
    wanted = (claim, question if claim == "clearer" else None)
    found = next(c for c in data["claims"] if (c["claim"], c["question"]) == wanted)
    return {
        c["subject"]: c["status"] for c in found["comparisons"] if c["population"] == population
    }
