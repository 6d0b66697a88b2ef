"""From inputs to files."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from trap_ops.config.model import ImagesConfig
from trap_ops.errors import ConfigError, ImageError
from trap_ops.images import reading
from trap_ops.images.access import LOCAL_ONLY
from trap_ops.images.discovery import FoundFiles, absolute_input, find_files
from trap_ops.images.files import local_file
from unit.images.fits_files import write

SUFFIXES = (".fits", ".fit")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """b.fits, a.FITS, c.fit, notes.txt, and sub/d.fits, sub/deeper/e.fits."""
    (tmp_path / "sub" / "deeper").mkdir(parents=True)
    names = ["b.fits", "a.FITS", "c.fit", "notes.txt", "sub/d.fits", "sub/deeper/e.fits"]
    for name in names:
        (tmp_path / name).touch()
    return tmp_path


def names_of(tree: Path, *inputs: str, roots: tuple[str, ...] = ()) -> list[str]:
    found = find_files([str(tree / item) for item in inputs], SUFFIXES, roots)
    return [str(Path(path).relative_to(tree.resolve())) for path in found.paths]


def names_in(found: FoundFiles) -> list[str]:
    return [Path(path).name for path in found.paths]


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        (["b.fits"], ["b.fits"]),
        # A file that is named is taken whatever its name.
        (["notes.txt"], ["notes.txt"]),
        # Of a directory those with a suffix, any case; not of directories in it.
        (["."], ["a.FITS", "b.fits", "c.fit"]),
        (["sub"], ["sub/d.fits"]),
        (["*.fits"], ["b.fits"]),
        (["[ab].*"], ["a.FITS", "b.fits"]),
        (["?.fit"], ["c.fit"]),
        (["notes*"], ["notes.txt"]),
        (["**/*.fits"], ["b.fits", "sub/d.fits", "sub/deeper/e.fits"]),
        # A pattern that matches a directory: what is in it.
        (["s*"], ["sub/d.fits"]),
        # Each once, sorted.
        (["sub/d.fits", "b.fits", ".", "*.fits"], ["a.FITS", "b.fits", "c.fit", "sub/d.fits"]),
    ],
)
def test_inputs_become_files(tree: Path, inputs: list[str], names: list[str]) -> None:
    assert names_of(tree, *inputs) == names


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tree: Path) -> None:
    (tree / "x[1].fits").touch()
    assert names_of(tree, "x[1].fits") == ["x[1].fits"]


def test_links_to_one_file_are_one(tree: Path) -> None:
    (tree / "link.fits").symlink_to(tree / "b.fits")
    assert names_of(tree, "link.fits", "b.fits") == ["b.fits"]


def test_blank_inputs_are_nothing(tree: Path) -> None:
    found = find_files(["", "  ", f" {tree / 'b.fits'}\n"], SUFFIXES, ())
    assert names_in(found) == ["b.fits"]
    assert found.refused == ()


def test_what_cannot_be_found_is_refused_and_the_rest_is_taken(tree: Path) -> None:
    inputs = [str(tree / "b.fits"), str(tree / "none.fits"), str(tree / "*.xyz"), "b.fits"]
    found = find_files(inputs, SUFFIXES, ())
    assert names_in(found) == ["b.fits"]
    assert [(item, error.reason) for item, error in found.refused] == [
        (inputs[1], "no such file"),
        (inputs[2], "no such file"),
        ("b.fits", "relative path"),
    ]


def test_nothing_at_all_is_an_error_that_says_why(tree: Path) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(ConfigError, match="no image files"):
        find_files([str(tree / "empty")], SUFFIXES, ())
    with pytest.raises(ConfigError, match=r"no image files: \(nothing\)"):
        find_files([], SUFFIXES, ())
    with pytest.raises(ConfigError, match="not an absolute path"):
        find_files(["b.fits"], SUFFIXES, ())


def test_files_outside_the_data_roots_are_refused(tree: Path) -> None:
    roots = (str(tree / "sub"), "/nowhere")
    found = find_files([str(tree / "b.fits"), str(tree / "**" / "*.fits")], SUFFIXES, roots)
    assert names_in(found) == ["d.fits", "e.fits"]
    assert {(Path(item).name, error.reason) for item, error in found.refused} == {
        ("b.fits", "outside the data roots")
    }


def test_a_link_does_not_lead_out_of_the_data_roots(tree: Path) -> None:
    (tree / "sub" / "way-out.fits").symlink_to(tree / "b.fits")
    (tree / "sub" / "up").symlink_to(tree)
    roots = (str(tree / "sub"),)
    found = find_files([str(tree / "sub"), str(tree / "sub" / "up" / "b.fits")], SUFFIXES, roots)
    assert names_in(found) == ["d.fits"]
    assert len(found.refused) == 2
    found = find_files([str(tree / "sub"), str(tree / "sub" / ".." / "b.fits")], SUFFIXES, roots)
    assert {error.reason for _, error in found.refused} == {"outside the data roots"}
    # A root whose name begins like another directory's is not that directory.
    (tree / "sub2").mkdir()
    (tree / "sub2" / "f.fits").touch()
    with pytest.raises(ConfigError, match="outside the data roots"):
        find_files([str(tree / "sub2" / "f.fits")], SUFFIXES, roots)


def test_a_root_that_is_a_link_holds_what_it_leads_to(tree: Path) -> None:
    (tree / "data").symlink_to(tree / "sub")
    assert names_of(tree, "data/d.fits", roots=(str(tree / "data"),)) == ["sub/d.fits"]


def test_a_name_that_is_no_text_is_refused_and_the_rest_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.fits").touch()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.fits")).touch()
    found = find_files([str(tmp_path)], SUFFIXES, [])
    assert names_in(found) == ["a.fits"]
    ((name, error),) = found.refused
    assert name == f"{tmp_path}/\\xff.fits"
    assert "not in UTF-8" in str(error)
    str(error).encode()


def test_a_path_too_long_to_be_kept_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["d" * 200] * 6)
    deep.mkdir(parents=True)
    (deep / "a.fits").touch()
    (tmp_path / "b.fits").touch()
    found = find_files([str(tmp_path / "b.fits"), str(deep / "*.fits")], SUFFIXES, [])
    assert names_in(found) == ["b.fits"]
    assert "1024 can be kept" in str(found.refused[0][1])


def test_an_input_that_is_refused_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "b.fits").touch()
    found = find_files(
        [str(tmp_path), "/no\x1b[31m/such\nfile", "/no\x1b[31m/such\nfile"], SUFFIXES, []
    )
    ((name, error),) = found.refused
    assert name == "/no\\u001b[31m/such\\u000afile"
    assert str(error).startswith(f"{name}: no such file")


def test_a_link_to_itself_is_refused_and_the_rest_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.fits").symlink_to(tmp_path / "a.fits")
    (tmp_path / "b.fits").touch()
    found = find_files([str(tmp_path / "*.fits")], SUFFIXES, [])
    assert names_in(found) == ["b.fits"]
    assert "leads back to itself" in str(found.refused[0][1])


def test_a_directory_that_cannot_be_read_is_refused_and_the_rest_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.fits").touch()
    closed = tmp_path / "closed"
    closed.mkdir()
    real = Path.iterdir

    def iterdir(self: Path) -> Iterator[Path]:  # Root may read everything.
        if self == closed:
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(self)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    found = find_files([str(tmp_path), str(closed)], SUFFIXES, [])
    assert names_in(found) == ["b.fits"]
    assert str(found.refused[0][1]) == f"{closed}: cannot be read: Permission denied"


def test_a_name_that_no_system_allows_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "b.fits").touch()
    for roots in ([], [str(tmp_path)]):
        found = find_files([str(tmp_path), f"/{'x' * 5000}", "/a\0b*", "/a\0b"], SUFFIXES, roots)
        assert names_in(found) == ["b.fits"]
        assert len(found.refused) == 3


def test_what_is_no_file_is_refused_without_being_opened(tree: Path) -> None:
    os.mkfifo(tree / "pipe.fits")
    with socket.socket(socket.AF_UNIX) as listener:
        # A path of a socket must be short.
        with contextlib.chdir(tree):
            listener.bind("s.fits")
        inputs = [str(tree), str(tree / "pipe.fits"), "/dev/zero", str(tree / "s.*")]
        found = find_files(inputs, SUFFIXES, [])
        assert names_in(found) == ["a.FITS", "b.fits", "c.fit"]
        refused = {Path(item).name: str(error) for item, error in found.refused}
        assert {name: text.split(": ")[2] for name, text in refused.items()} == {
            "pipe.fits": "it is a pipe, and no image can be in it",
            "s.fits": "it is a socket, and no image can be in it",
            "zero": "it is a device, and no image can be in it",
        }
        for name in ("pipe.fits", "s.fits"):
            with pytest.raises(ImageError, match="no image can be in it"):
                reading.read_headers(str(tree / name), lambda _: ImagesConfig())


def test_links_that_lead_nowhere_and_in_circles(tree: Path) -> None:
    (tree / "x.fits").symlink_to(tree / "gone.fits")
    (tree / "round").symlink_to(tree / "round")
    (tree / "loop").symlink_to(tree)
    found = find_files([str(tree / "x.fits"), str(tree / "round"), str(tree / "*")], SUFFIXES, [])
    assert names_in(found) == ["a.FITS", "b.fits", "c.fit", "notes.txt", "d.fits"]
    reasons = {Path(item).name: error.reason for item, error in found.refused}
    assert reasons == {"x.fits": "no such file", "round": "unreadable file"}


def test_a_root_that_is_away_is_named(tree: Path) -> None:
    with pytest.raises(ConfigError, match="/nowhere, which does not exist"):
        find_files([str(tree / "b.fits")], SUFFIXES, ("/nowhere", str(tree / "sub")))


def test_a_file_that_becomes_a_link_is_confined_when_it_is_read(tree: Path) -> None:
    inside = write(tree / "sub" / "image.fits")
    outside = write(tree / "secret.fits")
    access = LOCAL_ONLY.below([str(tree / "sub")])
    (path,) = find_files([str(inside)], SUFFIXES, access.data_roots).paths
    (made,) = reading.read_headers(path, lambda _: ImagesConfig(), access)
    inside.unlink()
    inside.symlink_to(outside)
    for call in (
        lambda: reading.read_headers(path, lambda _: ImagesConfig(), access),
        lambda: reading.read_image(path, made.plane, ImagesConfig(), access),
        lambda: reading.content_sha256(path, access),
        lambda: reading.check_unchanged(path, made.file_size, made.file_mtime_ns, None, access),
    ):
        with pytest.raises(ImageError, match="outside the data roots"):
            call()
    # Also where it happens between looking and opening.
    inside.unlink()
    shutil.copy(outside, inside)
    source = local_file(inside, access.data_roots)
    inside.unlink()
    inside.symlink_to(outside)
    with pytest.raises(ImageError, match="outside the data roots"):
        source.open()
    inside.unlink()
    os.mkfifo(inside)
    with pytest.raises(ImageError, match="a pipe"):
        source.open()


def test_inputs_are_made_absolute_and_nothing_secret_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute_input("a.fits") == f"{tmp_path}/a.fits"
    assert absolute_input(f"file://{tmp_path}/a%20b.fits") == f"{tmp_path}/a b.fits"
    assert absolute_input("S3://night/a.fits") == "s3://night/a.fits"
    for wrong in ("file://elsewhere/a.fits", "gs://night/a.fits", "https://me:word@host/a.fits"):
        with pytest.raises(ConfigError) as raised:
            absolute_input(wrong)
        assert "word@" not in str(raised.value)


def test_a_pattern_lists_nothing_outside_the_data_roots(tree: Path) -> None:
    elsewhere = tree / "elsewhere"
    (elsewhere / "in").mkdir(parents=True)
    for name in ("secret.fits", "in/secret.fits"):
        (elsewhere / name).touch()
    (tree / "sub" / "way-out").symlink_to(elsewhere)
    roots = (str(tree / "sub"),)
    patterns = ("sub/way-out/*", "sub/*/*.fits", "sub/*/secret.fits", "sub/way-out/**", "sub/**")
    patterns += ("*/*.fits", "**/secret.fits", "else*", "else*/*", "elsewhere", "sub/way-out")
    patterns += ("sub/way-out/secret.fits", "sub/../elsewhere/*.fits")
    for pattern in patterns:
        found = find_files([str(tree / "sub/d.fits"), str(tree / pattern)], SUFFIXES, roots)
        assert "secret" not in str(found.refused).replace(str(tree / pattern), ""), pattern
        assert set(names_in(found)) <= {"d.fits", "e.fits"}, pattern
    found = find_files([str(tree / "*" / "*.fits")], SUFFIXES, roots)
    assert (names_in(found), found.refused) == (["d.fits"], ())
    for there, away in (("elsewhere/secret.fits", "elsewhere/none.fits"), ("else*", "none*")):
        told = []
        for name in (there, away):
            with pytest.raises(ConfigError) as raised:
                find_files([str(tree / name)], SUFFIXES, roots)
            told.append(str(raised.value).replace(name, "NAME"))
        assert told[0] == told[1]
        assert "outside the data roots" in told[0]


def test_two_stars_go_through_no_link_and_into_no_table(tree: Path) -> None:
    (tree / "sub" / "again").symlink_to(tree / "sub")
    (tree / "sub" / "round").symlink_to(".")
    table = tree / "sub" / "a.image"
    (table / "mask0").mkdir(parents=True)
    for name in ("table.dat", "mask0/table.dat", "mask0/x.fits"):
        (table / name).touch()
    (tree / "sub" / ".hidden").mkdir()
    (tree / "sub" / ".hidden" / "h.fits").touch()
    expected = ["sub/d.fits", "sub/deeper/e.fits"]
    assert names_of(tree, "sub/**/*.fits") == expected
    assert names_of(tree, "sub/**/*.fits", roots=(str(tree),)) == expected
    assert names_of(tree, "sub/**") == ["sub/a.image", *expected]
    # One star does, once.
    assert names_of(tree, "sub/again/*.fits") == ["sub/d.fits"]
    assert names_of(tree, "sub/.hid*/*.fits") == ["sub/.hidden/h.fits"]


def test_a_pattern_that_meets_what_cannot_be_listed_goes_on(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.listdir

    def listdir(path: Path) -> list[str]:  # Root may read everything.
        if Path(path).name == "deeper":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    found = find_files([str(tree / "**" / "*.fits")], SUFFIXES, [])
    assert names_in(found) == ["b.fits", "d.fits"]
    ((name, error),) = found.refused
    assert (name, error.reason) == (str(tree / "sub/deeper"), "unreadable file")
