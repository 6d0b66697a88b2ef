"""``trap-manage monitor`` and ``withdraw`` on images with pixels, without Airflow."""

from __future__ import annotations

import getpass
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from conftest import new_store
from stages.conftest import SMALL, Run, checksum, counts
from stages.test_promises import Died, dying
from trap_ops import local
from trap_ops.commands import changes
from trap_ops.commands.__main__ import main
from trap_ops.errors import ConfigError, StoreError
from trap_ops.records.runs import MonitorPosition
from trap_ops.science.coordinates import parse_position
from trap_ops.store import runs
from trap_ops.store.database import Store
from trap_ops.store.schema import datasetlock, extractedsource, forcedfit, image, monitor
from trap_ops.store.schema import run as run_table

# A matter of seconds: not part of make test-fast.
pytestmark = pytest.mark.slow

CENTRE = MonitorPosition(123.01, 35.02, "near, the centre")
EDGE = MonitorPosition(122.93, 34.97, "edge")
FAR = MonitorPosition(200.0, -30.0, "far away")
Verb = Callable[..., int]


@pytest.fixture
def verb(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verb:
    """``trap-manage`` on the store; the run that it starts is one without Airflow."""
    url = store.url.render_as_string(hide_password=False)
    monkeypatch.setenv("TRAP_DB", url.replace("+psycopg2", ""))

    def run_dag(_: Any, __: Store, conf: dict[str, Any], **___: Any) -> int:
        conf = json.loads(json.dumps(conf))
        verb.reports = local.run(
            (),
            conf.pop("dataset"),
            store_url=url,
            configuration=conf.pop("configuration"),
            overrides=conf.pop("overrides"),
            monitor=[parse_position(text) for text in conf.pop("monitor", ())],
            output_dir=tmp_path / "var",
            **conf,
        )
        return 0

    monkeypatch.setattr(changes, "run_dag", run_dag)

    def verb(*words: str) -> int:
        return main([str(word) for word in words])

    verb.reports = []
    return verb


@pytest.fixture
def expected(request: pytest.FixtureRequest, tmp_path: Path, run: Run) -> Callable[..., str]:
    """Checksum of one run over images with positions, on SQLite."""

    def one_run(images: list[Path], positions: list[MonitorPosition]) -> str:
        with new_store("sqlite", request, tmp_path) as clean:
            run(clean, images, monitor=positions)
            return checksum(clean)

    return one_run


def csv(tmp_path: Path, *positions: MonitorPosition) -> str:
    path = tmp_path / "positions.csv"
    lines = [f'{p.ra_deg - 360.0!r},{p.dec_deg!r},"{p.name}"\n' for p in positions]
    path.write_text("".join(["ra,decl,name\n", *lines]))
    return str(path)


def number_of_runs(store: Store) -> int:
    with store.read() as connection:
        return connection.execute(select(func.count()).select_from(run_table)).scalar_one()


def test_positions_added_later_are_as_if_they_had_been_there(
    store: Store, hard: list[Path], run: Run, verb: Verb, expected: Any, tmp_path: Path
) -> None:
    """In one add and in two, with images before, between and after, and late ones."""
    positions = [MonitorPosition(p.ra_deg - 360.0, p.dec_deg, p.name) for p in (CENTRE, EDGE, FAR)]
    run(store, [*hard[:4], *hard[6:9]])
    assert verb("monitor", "add", "series", csv(tmp_path, CENTRE, FAR)) == 0
    made = counts(verb.reports, "fit_forced")
    assert made["fits"] + made["positions not measured"] == 2 * 7
    assert counts(verb.reports, "extract_sources").get("images", 0) == 0
    assert counts(verb.reports, "associate").get("images", 0) == 0
    run(store, [*hard[4:6], *hard[9:]])
    assert verb("monitor", "add", "series", csv(tmp_path, EDGE)) == 0
    assert counts(verb.reports, "fit_forced")["fits"] > 0
    assert checksum(store) == expected(hard, positions)


def test_removed_positions_leave_nothing(
    store: Store, hard: list[Path], run: Run, verb: Verb, expected: Any
) -> None:
    run(store, hard[:9], monitor=[CENTRE, EDGE, FAR])
    with store.read() as connection:
        ids = {row.name: row.id for row in connection.execute(select(monitor))}
    here = f"{CENTRE.ra_deg - 360.0} {CENTRE.dec_deg + 0.9 / 3600.0}"
    assert verb("monitor", "remove", "series", "--yes", ids["edge"], here) == 0
    assert checksum(store) == expected(hard[:9], [FAR])
    assert verb("monitor", "remove", "series", "--yes", "far away") == 0
    assert checksum(store) == expected(hard[:9], [])
    with store.read() as connection:
        kinds = select(extractedsource.c.id).where(extractedsource.c.extract_type == 2)
        assert connection.execute(kinds).all() == []
        assert connection.execute(select(monitor)).all() == []


def test_withdrawn_images_leave_nothing_and_may_come_back(
    store: Store, hard: list[Path], run: Run, verb: Verb, expected: Any, tmp_path: Path
) -> None:
    run(store, hard, monitor=[CENTRE, EDGE])
    before = checksum(store)
    assert verb("withdraw", "series", hard[2], hard[7].name, "--yes") == 0
    assert "images" not in counts(verb.reports, "extract_sources")
    stay = [path for path in hard if path not in {hard[2], hard[7]}]
    assert checksum(store) == expected(stay, [CENTRE, EDGE])
    (tmp_path / "bad").write_text(f"# bad nights\n\n{hard[0]}\n  {hard[1].name} \n")
    assert verb("withdraw", "series", "--yes", "--file", tmp_path / "bad") == 0
    assert checksum(store) == expected(stay[2:], [CENTRE, EDGE])
    run(store, hard)
    assert checksum(store) == before
    with store.read() as connection:
        requests = connection.execute(select(run_table.c.request).order_by(run_table.c.id))
        withdrawn = [json.loads(text)["withdraw"] for text in requests.scalars()]
        who = set(connection.execute(select(run_table.c.requested_by)).scalars())
    assert withdrawn == [[], [str(hard[2]), str(hard[7])], [str(hard[0]), str(hard[1])], []]
    assert who == {getpass.getuser()}


def test_a_span_of_time_is_withdrawn(
    store: Store, easy: list[Path], run: Run, verb: Verb, expected: Any, capsys: Any
) -> None:
    run(store, easy)
    with store.read() as connection:
        starts = sorted(connection.execute(select(image.c.taustart_ts)).scalars())
    span = ("--from", starts[1].isoformat(), "--to", f"{starts[2].isoformat()}+00:00")
    assert verb("withdraw", "series", "--yes", *span) == 0
    assert checksum(store) == expected([easy[0], *easy[3:]], [])
    said = capsys.readouterr().out
    assert "Of the 5 images of dataset 'series' go:" in said
    assert f"{easy[1].name}: accepted, " in said
    assert "The other 3 images are judged again" in said
    assert "2 images withdrawn; a run that is given the files again adds them again" in said
    assert verb("withdraw", "series", "--yes", *span) == 1
    assert "no image that starts then" in capsys.readouterr().err


def test_everything_is_withdrawn(store: Store, easy: list[Path], run: Run, verb: Verb) -> None:
    """What is left can be filled again."""
    run(store, easy[:2], monitor=[CENTRE])
    before = checksum(store)
    assert verb("withdraw", "series", "--yes", "--from", "1990-01-01") == 0
    with store.read() as connection:
        for table in (image, extractedsource, forcedfit):
            assert connection.execute(select(table.c.id)).all() == []
    assert verb("monitor", "add", "series", "[[10, 10]]") == 0
    assert verb("monitor", "remove", "series", "10 10", "-y") == 0
    run(store, easy[:2])
    assert checksum(store) == before


DOUBLES = (
    r"within 1 arcsec are one\n  position 1: \(123.010000, \+35.020200\) .* is there already: "
    r"'near, the centre' \(id 1, 123.010000 \+35.020000\)\n"
    r"  position 3: .* is the same as position 2"
)


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["monitor", "add", "series", "[[123.01, 35.0202], [1, 2], [361, 0]]"],
         r"nothing is added:\n  position 3: .*not on the sky"),
        (["monitor", "add", "series", "[[123.01, 35.0202], [1, 2], [-359, 2.0001]]"],
         DOUBLES),
        (["monitor", "add", "nothing", "[[1, 2]]"], "there is no dataset 'nothing'"),
        (["monitor", "remove", "series", "edge", "--yes"], "no monitoring position 'edge'"),
        (["monitor", "remove", "series", "--yes", "1", "123.01 35.0204"],
         "no monitoring position '123.01 35.0204'"),
        (["withdraw", "series", "t000.fits", "x.fits", "/no/y.fits", "--yes"],
         "has no image x.fits\n  the dataset has no image /no/y.fits"),
        (["withdraw", "series", "--yes", "--from", "yesterday"], "--from yesterday is no time"),
        (["withdraw", "series", "--yes", "--from", "2030-01-02", "--to", "2030-01-01"],
         "--from 2030-01-02 is after"),
        (["withdraw", "series", "--yes", "--file", "/no/list"], "cannot be read: No such file"),
        (["withdraw", "series", "x", "--yes", "--to", "2030-01-01"], "say which images"),
        (["withdraw", "series", "--yes"], "say which images"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_and_nothing_done(
    store: Store, easy: list[Path], run: Run, verb: Verb, capsys: Any, words: Any, message: str
) -> None:
    run(store, easy[:1], monitor=[CENTRE])
    before = checksum(store)
    assert verb(*words) == 1
    assert re.search(message, capsys.readouterr().err)
    assert checksum(store) == before
    assert number_of_runs(store) == 1


def test_a_run_takes_a_position_again_and_none_that_is_nearly_another(
    store: Store, easy: list[Path], run: Run
) -> None:
    run(store, easy[:1], monitor=[CENTRE, FAR])
    before = checksum(store)
    # Equal to the last digit: nothing new, whatever it is called.
    run(store, easy[:1], monitor=[CENTRE, CENTRE, MonitorPosition(FAR.ra_deg, FAR.dec_deg, "x")])
    assert checksum(store) == before
    nearly = MonitorPosition(CENTRE.ra_deg, CENTRE.dec_deg + 0.9 / 3600.0, "nearly")
    said = r"nothing is added: .*\n  position 2: .*'nearly' is there already: .*'near, the centre'"
    with pytest.raises(ConfigError, match=said):
        run(store, easy[:2], monitor=[FAR, nearly])
    with pytest.raises(ConfigError, match=r"position 2: .*'nearly' is the same as position 1"):
        local.run(easy[:1], "other", store_url=store.url.render_as_string(hide_password=False),
                  monitor=[CENTRE, nearly], output_dir=easy[0].parent)  # fmt: skip
    assert checksum(store) == before
    assert number_of_runs(store) == 2
    # A little farther away it is another place, and so it is where the other one goes.
    beside = MonitorPosition(CENTRE.ra_deg, CENTRE.dec_deg + 1.1 / 3600.0, "beside")
    run(store, easy[:1], monitor=[beside])
    run(store, [], monitor=[nearly], remove_monitors=[CENTRE.name, "beside"])
    with store.read() as connection:
        names = connection.execute(select(monitor.c.name)).scalars()
        assert sorted(names) == sorted([FAR.name, "nearly"])


CHANGES = [
    ("monitor", "add", "series", "[[1, 2]]"),
    ("monitor", "remove", "series", CENTRE.name, "--yes"),
    ("withdraw", "series", "--from", "1990-01-01", "--yes"),
]


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("words", CHANGES)
def test_another_run_that_has_the_dataset_is_named(
    store: Store,
    easy: list[Path],
    run: Run,
    verb: Verb,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    words: Any,
) -> None:
    run(store, easy[:1], monitor=[CENTRE], run_key="holder")
    before = checksum(store)
    with store.write() as connection:
        record = runs.find_run(connection, "holder")
        runs.set_state(connection, record.id, runs.RUNNING)
        runs.take_lock(connection, record)
    with monkeypatch.context() as patch:
        # Before Airflow is started, which takes ten seconds.
        patch.setattr(changes, "run_dag", None)
        assert verb(*words) == 1
    assert f"is in use by run 'holder' of {getpass.getuser()} on" in capsys.readouterr().err
    # Nor does the stage itself go past it.
    with pytest.raises(StoreError, match="is in use by run 'holder'"):
        run(store, [], monitor=[FAR])
    assert checksum(store) == before
    with store.write() as connection:
        runs.give_up(connection, record, "")
    assert verb(*words) == 0
    with store.read() as connection:
        assert connection.execute(select(datasetlock)).all() == []


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("words", CHANGES[1:])
def test_without_a_terminal_or_a_yes_nothing_is_taken_away(
    store: Store,
    easy: list[Path],
    run: Run,
    verb: Verb,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    words: Any,
) -> None:
    run(store, easy[:2], monitor=[CENTRE])
    before = checksum(store)
    asking = words[:-1]
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    assert verb(*asking) == 1
    assert "say --yes" in capsys.readouterr().err
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for answer in ("", "n", "what?"):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        assert verb(*asking) == 1
    assert checksum(store) == before
    assert number_of_runs(store) == 1
    monkeypatch.setattr("builtins.input", lambda _: "Yes")
    assert verb(*asking) == 0
    assert checksum(store) != before


def cells(line: str) -> list[str]:
    return line.replace("│", " ").split()


def test_the_list_of_positions(
    store: Store, easy: list[Path], run: Run, verb: Verb, capsys: Any
) -> None:
    run(store, easy[:3])
    assert verb("monitor", "list", "series") == 0
    assert "has no monitoring positions" in capsys.readouterr().out
    run(store, [], monitor=[CENTRE, FAR])
    assert verb("monitor", "list", "series") == 0
    lines = capsys.readouterr().out.splitlines()
    query = (
        select(monitor.c.runcat, extractedsource.c.f_int, image.c.taustart_ts)
        .join(extractedsource, extractedsource.c.ff_monitor == monitor.c.id)
        .join(image)
        .order_by(image.c.taustart_ts.desc())
    )
    with store.read() as connection:
        last = connection.execute(query).first()
    (centre,) = (cells(line) for line in lines if CENTRE.name in line)
    assert [float(centre[1]), float(centre[2])] == [CENTRE.ra_deg, CENTRE.dec_deg]
    assert centre[3:6] == [str(last.runcat), "3", "0"]
    shown = float(centre[6].replace("\N{MINUS SIGN}", "-"))
    assert shown == pytest.approx(last.f_int * 1e3, rel=0.01)
    assert centre[8:10] == str(last.taustart_ts)[:19].split()
    (far,) = (cells(line) for line in lines if FAR.name in line)
    assert far[3:5] == ["0", "3"]


def test_no_images_and_nothing_to_change_is_refused(
    store: Store, easy: list[Path], run: Run
) -> None:
    run(store, easy[:1])
    with pytest.raises(ConfigError, match=r"no image files: \(nothing\)"):
        run(store, [])
    with pytest.raises(StoreError, match="there is no dataset 'new'"):
        run(store, [], "new", monitor=[CENTRE])
    with pytest.raises(ConfigError, match="make two runs of it"):
        run(store, easy[1:], withdraw=[easy[0]])


def test_settings_are_those_of_the_dataset(
    store: Store, easy: list[Path], run: Run, verb: Verb
) -> None:
    """``auto`` is not chosen anew: with no images left it would be another file."""
    run(store, easy[:2], overrides={"quality": {"rms_history_images": 7}})
    assert verb("withdraw", "series", easy[1], "--yes") == 0
    with store.read() as connection:
        names = connection.execute(select(run_table.c.configuration_name)).scalars().all()
        asked = connection.execute(select(run_table.c.request)).scalars().all()
    assert len(names) == 2
    assert len(set(names)) == 1
    overrides = {**SMALL, "quality": {"rms_history_images": 7}}
    assert [json.loads(text)["overrides"] for text in asked] == [overrides] * 2


@pytest.mark.parametrize(
    "moment",
    [pytest.param(2, marks=pytest.mark.long), 5, pytest.param(9, marks=pytest.mark.long)],
)
@pytest.mark.parametrize("words", CHANGES)
def test_a_verb_that_was_killed_is_simply_repeated(
    store: Store,
    easy: list[Path],
    run: Run,
    verb: Verb,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    words: Any,
    moment: int,
) -> None:
    """After its run, which still seems to be at work, is given up."""
    for dataset in ("series", "undisturbed"):
        run(store, easy[:2], dataset, monitor=[CENTRE])
    undisturbed = ["undisturbed" if word == "series" else word for word in words]
    assert verb(*undisturbed) == 0
    # A killed process notes nothing.
    monkeypatch.setattr(local, "_note_failure", lambda *_: None)
    with pytest.raises(Died), dying(monkeypatch, moment, committed=True):
        verb(*words)
    with store.read() as connection:
        planned = connection.execute(select(datasetlock.c.run)).all()
    # On PostgreSQL ids are taken in transactions of their own: the second is before the plan's.
    assert planned or moment == 2
    if planned:
        assert verb(*words) == 1
        (key,) = re.findall(r"trap-manage abandon (\S+)`", capsys.readouterr().err)
        assert verb("abandon", key) == 0
    assert verb(*words) == 0
    assert checksum(store) == checksum(store, "undisturbed")
    # Now it is done, and no longer a repetition.
    assert verb(*words) == 1
