"""From inputs to files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from trap_ops.errors import ConfigError
from trap_ops.images.discovery import find_files

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
    return [str(path.relative_to(tree.resolve())) for path in found.paths]


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
    assert [path.name for path in found.paths] == ["b.fits"]
    assert found.refused == ()


def test_what_cannot_be_found_is_refused_and_the_rest_is_taken(tree: Path) -> None:
    inputs = [str(tree / "b.fits"), str(tree / "none.fits"), str(tree / "*.xyz"), "b.fits"]
    found = find_files(inputs, SUFFIXES, ())
    assert [path.name for path in found.paths] == ["b.fits"]
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
    assert [path.name for path in found.paths] == ["d.fits", "e.fits"]
    assert {(Path(item).name, error.reason) for item, error in found.refused} == {
        ("b.fits", "outside the data roots")
    }


def test_a_link_does_not_lead_out_of_the_data_roots(tree: Path) -> None:
    (tree / "sub" / "way-out.fits").symlink_to(tree / "b.fits")
    (tree / "sub" / "up").symlink_to(tree)
    roots = (str(tree / "sub"),)
    found = find_files([str(tree / "sub"), str(tree / "sub" / "up" / "b.fits")], SUFFIXES, roots)
    assert [path.name for path in found.paths] == ["d.fits"]
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
    assert [path.name for path in found.paths] == ["a.fits"]
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
    assert [path.name for path in found.paths] == ["b.fits"]
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
    assert [path.name for path in found.paths] == ["b.fits"]
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
    assert [path.name for path in found.paths] == ["b.fits"]
    assert str(found.refused[0][1]) == f"{closed}: cannot be read: Permission denied"


def test_a_name_longer_than_the_system_allows_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "b.fits").touch()
    found = find_files([str(tmp_path), f"/{'x' * 5000}"], SUFFIXES, [])
    assert [error.reason for _, error in found.refused] == ["no such file"]
