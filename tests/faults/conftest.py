"""Faults on real clusters: all of it starts servers and Airflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from trap_ops.simulate.series import write_series
from with_airflow.clusters import checksum_of_one_process
from with_airflow.conftest import PLAN


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for mark in (pytest.mark.airflow, pytest.mark.slow, pytest.mark.postgres):
                item.add_marker(mark)


@pytest.fixture(scope="session")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(PLAN, tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="session")
def expected(series: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Checksum of the results of one process that nothing happens to."""
    return checksum_of_one_process(series, tmp_path_factory.mktemp("alone"))
