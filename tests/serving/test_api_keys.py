"""The file of API keys: adding, removing, and reading it again while the service runs."""

import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicgen_service.serving import api_keys
from musicgen_service.serving.api_keys import ApiKeys, KeysError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A change of the file is looked for at each request."""
    monkeypatch.setattr(api_keys, "_CHECK_INTERVAL", 0.0)
    yield


def test_a_key_is_kept_as_its_hash(file: Path) -> None:
    key = api_keys.add(file, "ann")
    assert re.fullmatch(r"mgs_[\w-]{43}", key)
    assert file.read_text().splitlines()[1:] == [f"ann {hashlib.sha256(key.encode()).hexdigest()}"]
    assert key not in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    assert api_keys.add(file, "ben") != key


def test_a_key_has_a_name(file: Path) -> None:
    ann, ben = api_keys.add(file, "ann"), api_keys.add(file, "ben-2.x")
    keys = ApiKeys(file)
    assert (keys.name_of(ann), keys.name_of(ben)) == ("ann", "ben-2.x")
    for wrong in ("", "ann", ann[:-1], ann + "x", ann.lower(), hashlib.sha256(ann.encode()).hexdigest(), "ü"):
        assert keys.name_of(wrong) is None


@pytest.mark.usefixtures("at_once")
def test_a_running_service_reads_changes(file: Path) -> None:
    ann = api_keys.add(file, "ann")
    keys = ApiKeys(file)
    ben = api_keys.add(file, "ben")
    assert keys.name_of(ben) == "ben"
    api_keys.remove(file, "ann")
    assert (keys.name_of(ann), keys.name_of(ben)) == (None, "ben")
    api_keys.remove(file, "ben")
    assert keys.name_of(ben) is None


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("damage", ["ann", "ann 12\n", "x" * 70 + " " + "0" * 64, "\udcff"])
def test_a_damaged_file_changes_nothing(file: Path, damage: str, capsys: pytest.CaptureFixture[str]) -> None:
    ann = api_keys.add(file, "ann")
    whole = file.read_text()
    keys = ApiKeys(file)
    file.write_bytes(damage.encode(errors="surrogateescape"))
    assert [keys.name_of(ann), keys.name_of(ann)] == ["ann", "ann"]
    assert capsys.readouterr().err.count("The keys that were read before stay valid.\n") == 1
    file.write_text(whole + f"ben {'0' * 64}\n")
    assert keys.name_of(ann) == "ann" and "ben" in keys._keys


@pytest.mark.usefixtures("at_once")
def test_a_file_that_is_gone_changes_nothing(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ann = api_keys.add(file, "ann")
    keys = ApiKeys(file)
    file.unlink()
    assert keys.name_of(ann) == "ann"
    assert "cannot be read: No such file or directory. The keys" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (f"# a comment\n\nann {'0' * 64}\nben 12\n", "line 4 is not a name and the SHA-256 of a key."),
        (f"ann {'0' * 64}\nann {'1' * 64}\n", "line 2 has the name of an earlier line."),
        (f"an/n {'0' * 64}\n", "line 1 is not a name and the SHA-256 of a key."),
        (f"ann {'0' * 64}\0", "line 1 is not a name and the SHA-256 of a key."),
        ("#" * (2**20 + 1), "is larger than 1 MiB."),
    ],
)
def test_a_damaged_file_is_told_at_the_start(file: Path, content: str, problem: str) -> None:
    file.write_text(content)
    with pytest.raises(KeysError, match=problem):
        ApiKeys(file)
    with pytest.raises(KeysError, match=problem):  # and left as it is
        api_keys.add(file, "new")
    assert file.read_text() == content


def test_a_missing_file_is_told_at_the_start(file: Path) -> None:
    with pytest.raises(KeysError, match="cannot be read: No such file or directory"):
        ApiKeys(file)


def test_a_file_without_keys_lets_nobody_in(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.touch()
    assert ApiKeys(file).name_of("") is None
    assert "nobody may use the service" in capsys.readouterr().err


def test_names_are_plain_and_used_once(file: Path) -> None:
    api_keys.add(file, "ann")
    with pytest.raises(KeysError, match="'ann' has a key already"):
        api_keys.add(file, "ann")
    for name in ("", "a b", "#a", "a\n", "-a", "a" * 65, "ä"):
        with pytest.raises(KeysError, match="A name may have up to 64 letters"):
            api_keys.add(file, name)
    with pytest.raises(KeysError, match="There is no key of 'ben'"):
        api_keys.remove(file, "ben")
    assert list(api_keys.read(file)) == ["ann"]


def test_the_file_keeps_its_mode_and_place(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    api_keys.add(link, "ann")
    file.chmod(0o640)
    api_keys.add(link, "ben")
    assert link.is_symlink() and file.stat().st_mode & 0o777 == 0o640
    assert list(api_keys.read(file)) == ["ann", "ben"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["keys", "link"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"nowhere cannot be used: No such file or directory\.$"):
        api_keys.add(tmp_path / "nowhere" / "keys", "ann")


def test_keys_added_at_once_are_all_kept(file: Path) -> None:
    names = [f"client-{number}" for number in range(20)]
    threads = [threading.Thread(target=api_keys.add, args=(file, name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(api_keys.read(file)) == sorted(names)
