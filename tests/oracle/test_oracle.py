"""Worked cases of the classic system: association, light curves, new sources, forced fits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from conftest import BOTH_DATABASES, new_store
from oracle.cases import expected_of, load_cases, read_back, run_case
from trap_ops.store.database import Store

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

# Tolerances as the oracle files state them: (absolute, relative).
TOLERANCES = {
    "wm_ra": (5e-8, 0.0),
    "wm_decl": (1e-9, 0.0),
    "r": (1e-4, 0.0),
    "distance_arcsec": (3e-4, 0.0),
    "v_int": (1e-6, 0.0),
    "eta_int": (1e-5, 1e-7),
}
OTHER_NUMBERS = (0.0, 1e-7)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    directory = metafunc.config.getoption("--oracle-dir")
    cases = load_cases(directory) if directory.is_dir() else []
    metafunc.parametrize("case", cases, ids=[case["id"] for case in cases])


@pytest.fixture(scope="module", params=BOTH_DATABASES)
def shared_store(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """One database for all cases: each is a dataset of its own, and must not see the others."""
    with new_store(request.param, request, tmp_path_factory.mktemp("oracle")) as store:
        yield store


@pytest.mark.parametrize("appended", [False, True], ids=["one run", "a run a time step"])
def test_case(shared_store: Store, case: dict[str, Any], appended: bool) -> None:
    made = read_back(run_case(shared_store, case, appended=appended))
    problems = differences(expected_of(case), made, case["id"])
    assert not problems, "\n".join(problems)


def differences(expected: Any, made: Any, where: str) -> list[str]:
    """Everything that the case expects and that is not so; keys that it does not hold are free."""
    if isinstance(expected, dict):
        found = []
        for key, value in expected.items():
            if key in {"note", "classic_outcome"}:
                continue
            found += differences(value, _made(made, key), f"{where}.{key}")
        return found
    if isinstance(expected, list):
        if not isinstance(made, list) or len(expected) != len(made):
            return [f"{where}: expected {expected}, made {made}"]
        return [
            problem
            for i, (e, m) in enumerate(zip(expected, made, strict=True))
            for problem in differences(e, m, f"{where}[{i}]")
        ]
    if isinstance(made, set):
        return [] if made == {expected} else [f"{where}: expected {expected}, made {made}"]
    return (
        []
        if _equal(expected, made, where.rsplit(".", maxsplit=1)[-1])
        else [f"{where}: expected {expected!r}, made {made!r}"]
    )


def _made(made: dict[str, Any], key: str) -> Any:
    """A value by the name that the case uses; T25 counts codes instead of listing points."""
    if key == "types":
        return [point["type"] for point in made["lightcurve"]]
    if key == "extract_types":
        return [point["extract_type"] for point in made["lightcurve"]]
    if key == "f_datapoints" and "fluxes" in made:
        return made["fluxes"][0]["f_datapoints"]
    return made[key]


def _equal(expected: Any, made: Any, key: str) -> bool:
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return bool(expected == made)
    absolute, relative = TOLERANCES.get(key.split("[", maxsplit=1)[0], OTHER_NUMBERS)
    return made is not None and math.isclose(expected, made, rel_tol=relative, abs_tol=absolute)
