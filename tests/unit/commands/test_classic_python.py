"""Lists of images in Python: what they say is read, and nothing of them is executed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trap_ops.commands.classic.python_files import listed_images
from trap_ops.commands.classic.python_text import read_text
from trap_ops.errors import ConfigError
from trap_ops.records.names import one_line
from unit.commands.classic_files import IMAGES

NAME = "images_to_process.py"


def lines(text: str) -> list[str]:
    found = listed_images(text, NAME)
    assert found.problems == ()
    return list(found.lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (IMAGES, ["/home/example/data/*.fits"]),
        ('images = [\n    "/path/to/image1",\n    "/path/to/image2",\n    ...\n]', 2),
        ("images = ('/a', u'/b', '/a')", ["/a", "/b"]),
        ("datafiles = ['/a']", ["/a"]),
        ("datafiles = ['/a']\nimages = ['/b']", ["/b"]),
        ("images = '/a.fits'", ["/a.fits"]),
        ("from glob import glob\nimages = glob('/a/*.fits') + ['/b'] + glob('/c/*')", 3),
        ("import os.path as p, glob as g\nimages = g.glob(p.join('/a', 'b', '*'))", ["/a/b/*"]),
        ("import os\nimages = [os.path.join('/a', '/b')]", ["/b"]),
        ("import os\nimages = [os.path.join('/a[1]', f) for f in os.listdir('/a[1]')]", 1),
        ("D = '/d/'\nimages = [D + n for n in ('x.fits', 'y.fits')]", ["/d/x.fits", "/d/y.fits"]),
        ("images = ['/n%02d.fits' % n for n in range(9, 11)]", ["/n09.fits", "/n10.fits"]),
        ("images = [f'/{n:03d}/{s}' for n in range(1) for s in 'a']", None),
        ("s = 'a'\nimages = [f'/{n:03d}/{s}' for n in range(2)]", ["/000/a", "/001/a"]),
        ("images = []\nimages += ['/a']\nimages.append('/b')\nimages.extend(['/c'])", 3),
        ("same = images = ['/a']\nsame.append('/b')", ["/a", "/b"]),
        ("images = ['/a']\nother = list(images)\nother.append('/b')", ["/a"]),
        ("images = []\nfor n in range(2):\n    images.append('/%d' % n)", ["/0", "/1"]),
        ("images = ['/a', '/b', '/c'][1:]", ["/b", "/c"]),
        ("images = ['/a', '/b', '/c'][:-1:2]", ["/a"]),
        ("import glob\nimages = glob.glob('/a/*')[:10]", None),
        ("images = ['/a']\nif __name__ == '__main__':\n    images = []", ["/a"]),
        ("images = ['/a']\nif len(images) > 3:\n    images = []", None),
        ("images = ['/b', '/a']\nimages.sort()", ["/b", "/a"]),
        ("images = ['/a']\nimages.remove('/a')", None),
        ("images = ['/a']\ndel images[0]", None),
        ("images = ['/a']\nimages[0] = '/b'", None),
        ("images = ['/a']\nchange(images)", None),
        ("images = ['/a']\nexec('images = []')", None),
        ("def sorted(x):\n    return []\nimages = sorted(['/a'])", None),
        ("import os\nimages = [os.environ['DATA'] + '/a']", None),
        ("images = [line.strip() for line in open('list.txt')]", None),
        ("with open('x') as f:\n    images = f.read().split()", None),
        ("images = __import__('os').listdir('/')", None),
    ],
)  # fmt: skip
def test_what_people_write(text: str, expected: list[str] | int | None) -> None:
    """A list of lines, their number, or None where only Python could tell."""
    if expected is None:
        (problem,) = listed_images(text, NAME).problems
        assert problem.startswith(f"{NAME}, line ")
        assert problem.endswith("; write the paths into images.txt, one a line")
    elif isinstance(expected, int):
        assert len(lines(text)) == expected
    else:
        assert lines(text) == expected


def test_names_in_a_directory() -> None:
    text = "import os\nd = '/a[1]'\nimages = [os.path.join(d, f) for f in os.listdir(d)%s]"
    assert lines(text % "") == ["/a[[]1]/*"]
    assert lines(text % " if f.endswith('.fits')") == ["/a[[]1]/*.fits"]
    assert listed_images(text % " if 'Q' in f", NAME).problems


def test_the_home_directory_is_that_of_who_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = "import os, glob\nimages = glob.glob(os.path.expanduser('~/d/*'))"
    assert lines(text) == ["/home/me/d/*"]


def test_the_line_is_the_one_that_cannot_be_told() -> None:
    text = 'print "x"\nwhere = os.environ["HOME"]\nimages = [where + "/a"]'
    (problem,) = listed_images(text, NAME).problems
    assert "line 2: only Python could tell what `os.environ['HOME']` is" in problem


@pytest.mark.parametrize("item", ["1", "None", "'/a\\n/b'", "''", "['/a']", "'\\u202e'", "'\\0'"])
def test_what_is_no_path_is_named(item: str) -> None:
    found = listed_images(f"images = ['/a', {item}]", NAME)
    assert found.lines == ("/a",)
    assert "which is no path" in found.problems[0]


BOMBS = [
    "images = " + "[" * 5000,
    "images = " + "-" * 200_000 + "1",
    "images = " + "+".join(["'a'"] * 50_000),
    "images = 'a\0b'",
    "images = " + "9" * 5000,
    "images = range(10**30)",
    "images = range(0xffffffffffffffffffff)",
    "x = 'aaaaaaaaaa'\n" + "x += x\n" * 60 + "images = x",
    "x = ['a']\n" + "x += x\n" * 60 + "images = x",
    "x = ['a']\nx.append(x)\nimages = x + x",
    "images = '%999999999d' % 1",
    "images = [f'{1:999999999d}']",
    "images = [[a for a in range(20000)] for b in range(20000)]",
    "l = range(20000)\n" + "for a in l:\n    b = '%s' % a\n" * 500,
    "l = range(20000)\nfor a in l:\n" + "    b = c\n" * 300,
    "images = [x for x in " * 200 + "['a']" + "]" * 200,
    "\tx = 1\n  images = 2",
    "images = ['/a'\nprint 'x'",
    "",
]


@pytest.mark.parametrize("text", BOMBS, ids=lambda text: text[:30])
def test_hostile_files_end_soon_and_are_told(text: str) -> None:
    begun = time.process_time()
    found = listed_images(text, NAME)
    assert time.process_time() - begun < 10.0
    assert found.problems
    assert all(problem.startswith(NAME) and len(problem) < 300 for problem in found.problems)


# Pieces that hang together often enough to be Python.
PIECES = st.sampled_from(
    [
        "images", "=", "+=", "[", "]", "(", ")", "'/a'", "'%d'", "%", "+", "1", "-", "10**9",
        "for x in", "x", "range", "glob.glob", "os.path.join", "os.listdir", "sorted", ",", ".",
        "append", "\n", "\n    ", "import os", "print", "f'{x:03d}'", ":", "if", "endswith", "...",
        "__import__('os').system('touch executed')", "open('executed', 'w')", "exec", "lambda",
        "eval('open(\"executed\", \"w\")')", "\0", "\\", "0xffff", "None", "import executed", "@",
    ]
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(text=st.one_of(st.lists(PIECES, max_size=25).map(" ".join), st.text(max_size=60)))
@example(text="images = [open('executed', 'w')]")
@example(text="images = [__import__('os').system('touch executed')]")
@example(text="import executed\nimages = ['/a']")
def test_nothing_is_executed_and_nothing_breaks(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        here = tmp_path_factory.getbasetemp() / "classic"
        here.mkdir(exist_ok=True)
        patch.chdir(here)
        patch.syspath_prepend(here)
        (here / "executed.py").write_text("open('executed', 'w').close()")
        found = listed_images(text, NAME)
        assert [path.name for path in here.iterdir()] == ["executed.py"]
    assert all(one_line(line) == line for line in (*found.lines, *found.problems))


def test_a_file_of_another_time_is_read(tmp_path: Path) -> None:
    path = tmp_path / NAME
    path.write_bytes("# für Gijs\r\nimages = ['/a']\r\n".encode("latin-1"))
    assert lines(read_text(path)) == ["/a"]
    path.write_bytes(b"#" * 3_000_000)
    with pytest.raises(ConfigError, match="is it the right one"):
        read_text(path)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_text(tmp_path / "none.py")
