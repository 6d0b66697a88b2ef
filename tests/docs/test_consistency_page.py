"""The page of consistency lists the rules as they are."""

from __future__ import annotations

import re

from conftest import ROOT
from trap_ops.store.invariants import INVARIANTS

PAGE = (ROOT / "docs" / "consistency.md").read_text(encoding="utf-8")


def test_every_rule_is_listed_and_no_other() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*) \| (yes)? \|$", PAGE, re.MULTILINE)
    assert rows == [
        (item.name, item.description, "yes" if item.when_finished else "") for item in INVARIANTS
    ]
    assert PAGE.count(f"{len(INVARIANTS)} invariants checked") == 2
