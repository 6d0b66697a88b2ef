"""A results database, on SQLite: of what files do to a run the database knows nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import new_store
from trap_ops.store.database import Store


@pytest.fixture
def sqlite_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with new_store("sqlite", request, tmp_path) as store:
        yield store
