"""Which addresses are read, and which lead elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from trap_ops.errors import ConfigError, ImageError
from trap_ops.images.addresses import (
    check_below_roots,
    kept_input,
    local_path_of,
    parse_address,
    shown_address,
)
from trap_ops.images.discovery import absolute_input, find_files

ROOTS = ("s3://bucket/prefix", "https://archive.org/images/", "/data")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("s3://bucket/a/b.fits", "s3://bucket/a/b.fits"),
        ("S3://bucket/A.fits", "s3://bucket/A.fits"),
        ("s3://bucket/a@b c.fits", "s3://bucket/a@b c.fits"),
        ("https://Archive.ORG:443/x/a.fits", "https://archive.org/x/a.fits"),
        ("https://archive.org:8443/a.fits", "https://archive.org:8443/a.fits"),
        # One file, one spelling.
        ("https://archive.org/%61%20b.fits", "https://archive.org/a%20b.fits"),
        ("https://archive.org/a b.fits", "https://archive.org/a%20b.fits"),
        ("https://archive.org/100%25.fits", "https://archive.org/100%25.fits"),
    ],
)
def test_addresses_have_one_spelling(text: str, address: str) -> None:
    assert parse_address(text).text == address
    assert parse_address(address).text == address


@pytest.mark.parametrize(
    "text",
    [
        "http://archive.org/a.fits",
        "ftp://archive.org/a.fits",
        "gs://bucket/a.fits",
        "s3:bucket/a.fits",
        "s3:///a.fits",
        "https:///a.fits",
        "simplecache::s3://bucket/a.fits",
        "s3://bucket/a.fits::https://archive.org/b",
        "https://me:geheim@archive.org/a.fits",
        "https://archive.org@evil.org/a.fits",
        "https://archive.org/a.fits?sig=geheim",
        "https://archive.org/a.fits#geheim",
        "s3://bucket/a.fits?versionId=geheim",
        "s3://bucket/prefix/../a.fits",
        "s3://bucket/./a.fits",
        "s3://bucket//a.fits",
        "s3://bucket/a//b.fits",
        "s3://bucket/a//",
        "https://archive.org/images/%2e%2e/a.fits",
        "https://archive.org/images/%252e%252E/a.fits",
        "https://archive.org/images/..%2fa.fits",
        "https://archive.org/images\\..\\a.fits",
        "https://archive.org/images/..%5ca.fits",
        "https://archive.org/a%00.fits",
        "https://archive.org\\@evil.org/a.fits",
        "https://arch\u0131ve.org/a.fits",
        "https://[::1]/a.fits",
        "s3://bu cket/a.fits",
    ],
)
def test_addresses_that_lead_elsewhere_or_hold_secrets(text: str) -> None:
    with pytest.raises(ImageError) as raised:
        parse_address(text)
    assert raised.value.reason == "address"
    assert "geheim" not in str(raised.value)
    with pytest.raises(ConfigError) as refused:
        find_files([text], (".fits",), ("s3://bucket", "https://archive.org"))
    assert "geheim" not in repr(vars(refused.value))
    with pytest.raises(ConfigError) as early:
        absolute_input(text)
    assert "geheim" not in str(early.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://u:ge?heim@h/a", "https://u:ge#heim@h/a", "https://u:ge/heim@h/a",
        "https://h/a?x=ge@heim", "https://h/a%3Fx=geheim", "http://u:geheim@h/a",
    ],
)  # fmt: skip
def test_what_may_be_secret_is_not_shown(text: str) -> None:
    shown = shown_address(text)
    assert "ge" not in shown.replace("signature", "")
    assert "heim" not in shown


@pytest.mark.parametrize(
    ("address", "inside"),
    [
        ("s3://bucket/prefix/a.fits", True),
        ("s3://bucket/prefix", True),
        ("s3://bucket/prefix-other/a.fits", False),
        ("s3://bucket/prefi", False),
        ("s3://bucket/a.fits", False),
        ("s3://bucket2/prefix/a.fits", False),
        ("https://archive.org/images/a.fits", True),
        ("HTTPS://ARCHIVE.org/images/a.fits", True),
        ("https://archive.org/Images/a.fits", False),
        ("https://archive.org:8443/images/a.fits", False),
        ("https://archive.org.evil.org/images/a.fits", False),
        ("https://archive.org./images/a.fits", False),
    ],
)
def test_what_is_below_a_root(address: str, *, inside: bool) -> None:
    if inside:
        check_below_roots(parse_address(address), ROOTS)
        return
    with pytest.raises(ImageError):
        check_below_roots(parse_address(address), ROOTS)


def test_without_a_remote_root_nothing_remote_is_read() -> None:
    for roots in ((), ("/data",)):
        with pytest.raises(ConfigError, match=r'data_roots = \["s3://bucket/"'):
            find_files(["s3://bucket/a.fits"], (".fits",), roots)


def test_a_pattern_lists_nothing_outside_the_roots() -> None:
    for text in ("s3://bucket/p*/a.fits", "s3://bucket/prefix*", "s3://bucket/*"):
        with pytest.raises(ConfigError, match="not below a data root"):
            find_files([text], (".fits",), ROOTS)
    with pytest.raises(ConfigError, match="lists no directory"):
        find_files(["https://archive.org/images/"], (".fits",), ROOTS)


@pytest.mark.parametrize(
    "root", ["data", "s3://", "ftp://x/", "s3://bucket/../x", "https://u:p@h/"]
)
def test_roots_that_are_none(root: str) -> None:
    with pytest.raises(ConfigError, match=r"images\.data_roots"):
        find_files(["/data/a.fits"], (".fits",), (root,))


def test_addresses_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a b.fits").touch()
    for text in (f"file://{tmp_path}/a%20b.fits", f"file://localhost{tmp_path}/a b.fits"):
        found = find_files([text], (".fits",), (str(tmp_path),))
        assert found.paths == (str(tmp_path.resolve() / "a b.fits"),)
    assert local_path_of("/file:/x") == "/file:/x"
    for text in ("file://elsewhere/a.fits", f"file://{tmp_path}/x/../../y.fits"):
        with pytest.raises(ConfigError):
            find_files([text], (".fits",), (str(tmp_path),))


@pytest.mark.parametrize(
    "text",
    [
        "https://me:geheim@archive.org/a.fits",
        "  https://me:geheim@archive.org/a.fits ",
        "\u200bhttps://me:geheim@archive.org/a.fits",
        "https://archive.org/a.fits?sig=geheim",
        "HTTPS://archive.org/a.fits#geheim",
        "s3://key:geheim@bucket/a.fits",
        "file://me:geheim@host/a.fits",
        "ftp://me:geheim@host/a.fits",
        "https:me:geheim@host/a.fits",
    ],
)
def test_nothing_secret_is_kept_of_an_input(text: str) -> None:
    assert "geheim" not in kept_input(text)
    assert "not shown" in kept_input(text)


def test_other_inputs_are_kept_as_they_are() -> None:
    for text in (
        "/data/a@b#1 50%.fits", "s3://bucket/a@b.fits", "https://archive.org/100%25.fits",
        "file:///data/a@b.fits", "relative@here.fits",
    ):  # fmt: skip
        assert kept_input(text) == text
