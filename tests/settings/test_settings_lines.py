import tomllib

import pytest

from asyncjobs.settings.lines import locate


def paths(value, path=()):
    """Every key and list position that a parsed text has."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from paths(inner, (*path, key))


TRICKY = '''\
# [default] in a comment
top = 1

[ default ]   # [not.this]
text = "a # b [c] \\" = "
literal = 'C:\\ [x] = "'
long = """
[fake]
lease = 1 \\"""
'quoted' = 2"""""
raw = \'\'\'
[[default.pools]]
concurrency = 1\'\'\'
"quoted key" = 1
"esc\\"aped" = 1
'lit.eral' = 1
a.b . "c d" = 1
date = 1979-05-27 07:32:00
list = [
  "one", # ] not the end
  "two",
  [ 3,
    4 ],
]
tight = ["a" ,"b"]
inline = { x = 1 , y.z = [ { q = 1 } ] }
after = 1

[[default.pools]]
concurrency = 1

[default.pools.weights]
low = 1

[[ default . pools ]]
concurrency = 2
[[default.pools.deep]]
k = 1
[[default.pools.deep]]
k = 2

[a.b.c]
[a]
d = 1
'''
EXPECTED = {
    ("top",): 2,
    ("default",): 4,
    ("default", "text"): 5,
    ("default", "literal"): 6,
    ("default", "long"): 7,
    ("default", "raw"): 11,
    ("default", "quoted key"): 14,
    ("default", 'esc"aped'): 15,
    ("default", "lit.eral"): 16,
    ("default", "a", "b", "c d"): 17,
    ("default", "date"): 18,
    ("default", "list"): 19,
    ("default", "list", 0): 20,
    ("default", "list", 1): 21,
    ("default", "list", 2): 22,
    ("default", "list", 2, 1): 23,
    ("default", "inline", "y", "z", 0, "q"): 26,
    ("default", "after"): 27,
    ("default", "pools"): 29,
    ("default", "pools", 0, "concurrency"): 30,
    ("default", "pools", 0, "weights"): 32,
    ("default", "pools", 0, "weights", "low"): 33,
    ("default", "pools", 1): 35,
    ("default", "pools", 1, "concurrency"): 36,
    ("default", "pools", 1, "deep", 0, "k"): 38,
    ("default", "pools", 1, "deep", 1): 39,
    ("default", "pools", 1, "deep", 1, "k"): 40,
    ("a", "b", "c"): 42,
    ("a",): 43,
    ("a", "d"): 44,
}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_each_key_is_found_on_its_line_whatever_surrounds_it(newline):
    lines = locate(TRICKY.replace("\n", newline))
    assert {path: lines.of(path) for path in EXPECTED} == EXPECTED


def test_the_scanner_finds_exactly_the_keys_that_tomllib_finds():
    assert set(locate(TRICKY).known) == set(paths(tomllib.loads(TRICKY)))


def test_a_key_that_is_not_there_has_the_line_of_the_nearest_table_around_it():
    lines = locate(TRICKY)
    assert lines.of(("default", "pools", 1, "queues")) == 35
    assert lines.of(("default", "missing", "deeper")) == 4
    assert lines.of(("nothing",)) == 1


def test_lines_are_counted_from_the_very_first_character():
    assert locate("\n[default]").of(("default",)) == 2
    assert locate("[default]\nx={a=1,b=[1,{c=1}]}\ny=1").known.keys() >= {
        ("default", "x", "b", 1, "c"),
        ("default", "y"),
    }


def test_what_was_found_before_the_scanner_lost_its_way_stands():
    assert locate("[default]\nlease = 1\n?? broken\nlater = 2").known == {("default",): 1, ("default", "lease"): 2}


@pytest.mark.parametrize(
    "text", ["", "[", "[[", "a", "a =", "a = [", "a = {", 'a = "', "a = [1", "a = {b", "a = }", "a = [}", "]"]
)
def test_a_broken_text_ends_the_scan(text):
    assert locate(text).of(("a", "b")) == 1
