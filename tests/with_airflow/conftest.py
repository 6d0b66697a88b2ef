"""The project's Airflow as a user has it: the wrappers in bin/, with a var/ of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from trap_ops.simulate.series import SeriesPlan, write_series

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"extraction": {"detection_threshold_sigma": 6.0, "margin_px": 2}}
PLAN = SeriesPlan(
    n_epochs=5, size_px=160, n_steady=14, n_variable=2, n_transient=1, seed=3, snr_max=40.0
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.airflow)
            item.add_marker(pytest.mark.slow)


@dataclass
class Checkout:
    """The commands of this checkout, with results and Airflow's files in another directory."""

    var: Path
    home: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "TRAP"))}
        return {**kept, "TRAP_VAR": str(self.var), "HOME": str(self.home)}

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command of bin/ from another directory than the checkout."""
        environment = {**self.environment, **options.pop("environment", {})}
        return subprocess.run(
            [str(ROOT / "bin" / words[0]), *words[1:]],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            cwd=options.pop("cwd", self.home),
            timeout=options.pop("timeout", 180),
            **options,
        )

    def conf(self, images: list[Path], dataset: str, **more: Any) -> str:
        """Parameters of trap_batch as JSON."""
        conf = {"images": [str(p) for p in images], "dataset": dataset, "overrides": SMALL, **more}
        return json.dumps(conf)

    def runs(self, dataset: str) -> list[str]:
        """Run ids of a dataset, the first one first."""
        from sqlalchemy import select

        from trap_ops.store.database import Store
        from trap_ops.store.schema import dataset as dataset_table
        from trap_ops.store.schema import run

        store = Store(f"sqlite:///{self.var / 'results.db'}")
        with store.read() as connection:
            query = select(run.c.run_key).join(dataset_table)
            mine = query.where(dataset_table.c.description == dataset).order_by(run.c.id)
            return list(connection.execute(mine).scalars())

    def state_of(self, run_id: str) -> tuple[str, str]:
        """State of a run, and the message of its failure."""
        from sqlalchemy import select

        from trap_ops.store.database import Store
        from trap_ops.store.schema import run

        store = Store(f"sqlite:///{self.var / 'results.db'}")
        with store.read() as connection:
            query = select(run.c.state, run.c.message).where(run.c.run_key == run_id)
            state, message = connection.execute(query).one()
        store.close()
        return state, message


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    directory = tmp_path_factory.mktemp("checkout")
    (directory / "home").mkdir()
    yield Checkout(directory / "var", directory / "home")
    left = sorted(path.name for path in (directory / "home").iterdir())
    assert left == [], f"written to the home directory: {left}"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_series(PLAN, tmp_path_factory.mktemp("series"))


@pytest.fixture(scope="session")
def finished_run(checkout: Checkout, images: list[Path]) -> str:
    """Run id of a finished run on the dataset ``series``."""
    made = checkout.run(
        "airflow", "dags", "test", "trap_batch", "-c", checkout.conf(images, "series")
    )
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    (run_id,) = checkout.runs("series")
    return run_id


def python(code: str, checkout: Checkout) -> Any:
    """Run code in a process with Airflow's environment; return the JSON it prints last."""
    prepared = checkout.run("trap-manage", "env")
    assert prepared.returncode == 0, prepared.stderr
    script = f'{prepared.stdout}\nexec {sys.executable} -c "$CODE"'
    made = subprocess.run(
        ["bash", "-c", script],
        env={**checkout.environment, "CODE": code},
        capture_output=True,
        text=True,
        check=False,
        cwd=checkout.home,
        timeout=300,
    )
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-3000:]
    return json.loads(made.stdout.splitlines()[-1])
