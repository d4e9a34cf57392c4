"""What the demo decides without starting anything."""

import os

import pytest

from asyncjobs import InvalidSettings, logs
from asyncjobs.demo.board import Board, State
from asyncjobs.demo.command import without_settings
from asyncjobs.demo.gallery import is_gallery, title_in, write_gallery
from asyncjobs.demo.jobs import ProcessCloud, part_name, read
from asyncjobs.demo.show import Show
from asyncjobs.demo.sources import find, sample_texts
from asyncjobs.demo.views import View, visible
from asyncjobs.demo.words import MAX_CHARACTERS, moderate
from tests.demo.conftest import WORDS, write_card


def a_board(tmp_path, number):
    for n in range(number):
        (tmp_path / f"{n:03}.txt").touch()
    return Board(find([tmp_path] if number else [], tmp_path / "out"))


def test_without_files_the_samples_are_the_texts(tmp_path):
    assert [source.text for source in find([], tmp_path)] == sample_texts()


def test_a_file_given_twice_is_drawn_once(tmp_path):
    (tmp_path / "a.txt").touch()
    (tmp_path / "link.txt").symlink_to("a.txt")
    assert [source.text.name for source in find([tmp_path / "a.txt", tmp_path], tmp_path / "out")] == ["a.txt"]


def test_texts_of_one_name_get_cards_of_their_own_whatever_the_case(tmp_path):
    for directory, name in (("one", "Sea.txt"), ("two", "sea.txt"), ("two", "sea.md"), ("two", ".txt")):
        (tmp_path / directory).mkdir(exist_ok=True)
        (tmp_path / directory / name).touch()
    given = [tmp_path / "one", tmp_path / "two", tmp_path / "two" / ".txt"]
    assert [source.card.name for source in find(given, tmp_path)] == ["Sea.svg", "sea-2.svg", "sea-3.svg", "txt.svg"]


def test_a_name_as_long_as_a_file_system_takes_gets_a_card(tmp_path):
    text = tmp_path / ("ä" * 125 + ".txt")
    text.touch()
    (source,) = find([text], tmp_path)
    source.card.touch()


def test_a_name_that_is_no_utf_8_is_refused_by_name(tmp_path):
    file = tmp_path / os.fsdecode(b"caf\xe9.txt")
    try:
        file.touch()
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    with pytest.raises(InvalidSettings, match="its name is no UTF-8"):
        find([file], tmp_path)


def test_a_pipe_is_refused_and_a_directory_without_texts_too(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidSettings) as raised:
        find([tmp_path / "pipe", tmp_path], tmp_path)
    assert len(raised.value.problems) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_of_a_text_far_too_long_no_more_is_read_than_shows_it(tmp_path, encoding):
    (tmp_path / "long.txt").write_text("\N{GRINNING FACE}" * 3_000_000, encoding)
    text = read(tmp_path / "long.txt")
    assert len(text) < MAX_CHARACTERS + 4
    assert "over 2,000,000 characters" in moderate(text)[0]


def test_a_card_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "part").touch()
    write_card(tmp_path / "a.svg", "A & <B>", WORDS)
    assert [file.name for file in tmp_path.iterdir()] == ["a.svg"]
    assert title_in(tmp_path / "a.svg") == "A & <B>"


def test_unfinished_cards_of_this_demo_are_swept_and_those_of_another_are_not(tmp_path):
    board = a_board(tmp_path, 1)
    a_job, another = (ProcessCloud(text=tmp_path, title="", card=tmp_path) for _ in range(2))
    ours, theirs = a_job.id, another.id
    for name in (part_name(ours, 1), part_name(ours, 2), part_name(theirs, 1), ".part", "a.part"):
        (tmp_path / name).touch()
    show = Show(board, tmp_path, View(board, tmp_path))
    show._lines = {str(ours): board.lines[0]}
    show._sweep()
    assert {file.name for file in tmp_path.glob("*part")} == {part_name(theirs, 1), ".part", "a.part"}


def test_the_page_shows_the_cards_and_no_other_picture(tmp_path):
    write_card(tmp_path / "50% <a> #1.svg", "A & <B>", WORDS)
    (tmp_path / "other.svg").write_text("<svg/>")
    page = write_gallery(tmp_path)
    assert is_gallery(page)
    assert "1 word cloud<" in page.read_text()
    assert 'src="50%25%20%3Ca%3E%20%231.svg" alt="Word cloud: A &amp; &lt;B&gt;"' in page.read_text()
    assert "other.svg" not in page.read_text()


def test_the_board_follows_a_job_through_its_attempts(tmp_path):
    board = a_board(tmp_path, 1)
    [line] = board.lines
    line.begin("generate", 1, 10.0)
    assert (line.state, line.detail, line.began) == (State.running, "generate", 10.0)
    line.begin("moderate", 2, 11.0)
    assert (line.state, line.detail, line.began) == (State.running, "moderate, attempt 2", 10.0)
    line.end(State.drawn)
    line.begin("generate", 1, 12.0)
    assert (line.state, line.steps, board.over) == (State.drawn, 4, 1)


def test_which_step_a_job_begins_is_read_in_the_workers_log_whatever_else_is_in_it(tmp_path, caplog):
    board = a_board(tmp_path, 1)
    [line] = board.lines
    job = ProcessCloud(text=tmp_path, title="", card=tmp_path)
    show = Show(board, tmp_path, View(board, tmp_path))
    show._lines = {str(job.id): line}
    with (tmp_path / "log").open("a+") as show._log, (tmp_path / "log").open("a", buffering=1) as worker:
        caplog.handler.setFormatter(logs.TextLines(colours=False))
        for step in ("moderate", "analyze"):
            job._say(step)
        first, second, _ = caplog.text.split("\n")
        worker.write(f"another line\nhalf of a {first}\n{second[:-3]}")
        show._read()
        assert line.detail == "moderate"
        worker.write(f"{second[-3:]}\n")
        show._read()
        assert line.detail == "analyze"


@pytest.mark.parametrize(("over", "running"), [(0, 0), (0, 3), (10, 3), (22, 3), (25, 0)])
def test_a_picture_is_never_higher_than_the_room_and_shows_what_runs(tmp_path, over, running):
    board = a_board(tmp_path, 25)
    for line in board.lines[:over]:
        line.state = State.drawn
    for line in board.lines[over : over + running]:
        line.state = State.running
    for room in range(2, 31):
        shown = visible(board, room)
        is_cut = len(shown) < len(board.lines)
        assert len(shown) == (room - 1 if is_cut else 25)
        assert sum(line.state is State.running for line in shown) == min(running, len(shown))


def test_no_variable_leads_to_another_database():
    kept = without_settings({"ASYNCJOBS_DATABASE_URL": "x", "PGHOST": "x", "ASYNCJOBS_PG_BIN": "/pg", "PATH": "/bin"})
    assert kept == {"ASYNCJOBS_PG_BIN": "/pg", "PATH": "/bin"}
