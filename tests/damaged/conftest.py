"""The corpus on disk, once for all tests; and a results database, of whose kind no file knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import new_store
from damaged.corpus import corpus
from damaged.files import Damaged
from trap_ops.store.database import Store


@pytest.fixture
def sqlite_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with new_store("sqlite", request, tmp_path) as store:
        yield store


@pytest.fixture(scope="session")
def damaged_files(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Damaged, Path]]:
    """Every case with the path that it is made at."""
    directory = tmp_path_factory.mktemp("damaged")
    made = [(case, directory / case.name) for case in corpus()]
    for case, path in made:
        case.make(path)
    return made
