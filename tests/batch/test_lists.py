"""Lists of requests: JSON lines, CSV and plain text."""

from pathlib import Path
from typing import Any

import pytest

from musicgen_service.batch import lists
from musicgen_service.requests.fields import FIELDS


def read(folder: Path, name: str, content: str | bytes) -> tuple[list[lists.Entry], list[str]]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return lists.read(path, FIELDS)


SAME: dict[str, str] = {
    "a.jsonl": '{"prompt": "rock, loud", "duration": 2, "continuation": false, "id": "x"}\n\n{"prompt": "jazz"}\n',
    "a.csv": 'id,prompt,duration,continuation\nx,"rock, loud",2,False\n\n,jazz,,\n',
}


@pytest.mark.parametrize("name", SAME)
def test_formats_say_the_same(tmp_path: Path, name: str) -> None:
    entries, problems = read(tmp_path, name, SAME[name])
    assert problems == []
    assert [entry.id for entry in entries] == ["x", None]
    expected: list[dict[str, Any]] = [
        {"prompt": "rock, loud", "duration": 2, "continuation": False},
        {"prompt": "jazz"},
    ]
    assert [entry.inputs for entry in entries] == expected


def test_plain_text_has_a_prompt_on_each_line(tmp_path: Path) -> None:
    entries, problems = read(tmp_path, "a.txt", "rock, loud\r\n\n  jazz \n")
    assert problems == []
    assert [(entry.line, entry.inputs) for entry in entries] == [(1, {"prompt": "rock, loud"}), (3, {"prompt": "jazz"})]


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    entries, problems = read(tmp_path, "a.csv", b"\xef\xbb\xbfprompt\nrock\n")
    assert problems == [] and entries[0].inputs == {"prompt": "rock"}


def test_a_cell_may_have_several_lines(tmp_path: Path) -> None:
    entries, _ = read(tmp_path, "a.csv", 'prompt,seed\n"rock,\nloud",1\njazz,2\n')
    assert [(entry.line, entry.inputs["prompt"]) for entry in entries] == [(3, "rock,\nloud"), (4, "jazz")]


def test_files_are_relative_to_the_list_and_addresses_stay(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "a.wav").touch()
    address = "https://example.com/a.wav"
    lines = f'{{"input_audio": "songs/a.wav"}}\n{{"input_audio": "{address}"}}\n'
    entries, problems = read(tmp_path, "a.jsonl", lines)
    assert problems == []
    assert [entry.inputs["input_audio"] for entry in entries] == [tmp_path / "songs" / "a.wav", address]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.jsonl", '{"prompt": "a"}\nnot JSON\n', "line 2: This is not JSON: expected ident at line 1 column 2."),
        ("a.jsonl", '{"prompt": "a", "prompt": "b"}', "line 1: This is not JSON: Detected duplicate key \"prompt\""),
        ("a.jsonl", '["rock"]', 'line 1: A line must be a JSON object, such as {"prompt": "lofi piano"}.'),
        ("a.jsonl", '{"id": "../x"}', "line 1: id must be up to 100 letters, digits, '.', '_' and '-', the first a"),
        ("a.jsonl", '{"id": ["x"]}', "line 1: id must be up to 100 letters, digits, '.', '_' and '-', the first a"),
        ("a.jsonl", '{"input_audio": "gone.wav"}', "line 1: input_audio: there is no file "),
        ("a.jsonl", '{"input_audio": "."}', "line 1: input_audio: "),
        ("a.jsonl", '{"input_audio": "a\\u0000b"}', "line 1: input_audio: "),
        ("a.csv", "promt,id\nrock,1\n", "line 1: There is no input 'promt' (did you mean 'prompt'?)."),
        ("a.csv", "prompt,seed,prompt\na,1,b\n", "line 1: The column 'prompt' is there twice."),
        ("a.csv", "prompt,seed\nrock\n", "line 2: The line has 1 cells, and the header has 2."),
        ("a.csv", "prompt,seed\nrock,one\n", "line 2: seed must be a whole number from -1 to 4294967295, not 'one'."),
        ("a.csv", "prompt,continuation\nrock,yes\n", "line 2: continuation must be true or false, not 'yes'."),
        ("a.csv", 'prompt\n"rock\n', "line 2: This is not CSV: unexpected end of data."),
        ("a.csv", b"prompt,\xff\nrock,1\n", "line 1: This is not text in UTF-8."),
        ("a.jsonl", '{"input_audio": "~gone.wav"}', "line 1: input_audio: there is no file "),
    ],
)  # fmt: skip
def test_problems_name_their_line(tmp_path: Path, name: str, content: str | bytes, expected: str) -> None:
    _, problems = read(tmp_path, name, content)
    assert len(problems) == 1 and problems[0].startswith(expected), problems


@pytest.mark.parametrize(
    ("name", "content", "good"),
    [
        ("a.jsonl", b'{"prompt": "\xff"}\n{"prompt": "b"}\n["\xc3"]\n{}\n', [2, 4]),
        ("a.txt", b"\xff\nrock\nja\xffzz\n\n", [2]),
        ("a.csv", b"prompt\n\xff\nrock\n\xc3\n", [3]),
    ],
)
def test_every_line_that_is_no_text_is_reported(tmp_path: Path, name: str, content: bytes, good: list[int]) -> None:
    entries, problems = read(tmp_path, name, content)
    assert [entry.line for entry in entries] == good
    assert len(problems) == 2 and all(problem.endswith(": This is not text in UTF-8.") for problem in problems)


def test_every_problem_of_a_line_is_reported(tmp_path: Path) -> None:
    _, [cells] = read(tmp_path, "a.csv", "prompt,seed,bpm\na,x,fast\n")
    assert "seed must be" in cells and "bpm must be" in cells
    _, [line] = read(tmp_path, "a.jsonl", '{"id": "../x", "input_audio": "gone.wav"}')
    assert "id must be" in line and "there is no file" in line


def test_a_cell_may_have_the_content_of_a_file(tmp_path: Path) -> None:
    uri = f"data:audio/wav;base64,{'A' * 200_000}"
    entries, problems = read(tmp_path, "a.csv", f'input_audio\n"{uri}"\n')
    assert problems == [] and entries[0].inputs == {"input_audio": uri}


def test_every_bad_line_is_reported(tmp_path: Path) -> None:
    _, problems = read(tmp_path, "a.csv", "prompt,seed,bpm\na,x,1\nb,1,1\nc,1,fast\nd\n")
    assert [problem.partition(":")[0] for problem in problems] == ["line 2", "line 4", "line 5"]
