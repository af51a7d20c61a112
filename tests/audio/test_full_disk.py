"""A disk that fills up while a clip is written: the same error in every format, and no file is left."""

from pathlib import Path

import pytest

from musicgen_service import client_errors
from musicgen_service.audio import encoding
from musicgen_service.audio.encoding import FORMATS, EncodingError
from musicgen_service.audio.tags import Tags
from tests.support.sounds import RATE, tone
from tests.test_folders import disk

TAGS = Tags("a title", "{}", "a test")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("options", ["size=80k", "size=4k", "size=4m,nr_inodes=1"])
def test_error_names_the_full_disk(tmp_path: Path, name: str, options: str) -> None:
    with disk(tmp_path / "disk", options) as small:
        with pytest.raises(
            EncodingError, match=f"^clip.{name} could not be written: No space left on device$"
        ) as raised:
            encoding.write(tone(60, 2), RATE, small / f"clip.{name}", TAGS)
        assert str(client_errors.to_client_error(raised.value)).startswith(
            "The service has no room left to write files"
        )
        assert list(small.iterdir()) == []
