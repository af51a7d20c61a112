"""What a sound file tells of itself besides its sound, in the tags of its format."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from musicgen_service.audio.music import Music, key_symbol


@dataclass(frozen=True)
class Tags:
    """Tags of a clip.

    Attributes
    ----------
    title, comment, software : texts
    music : its tempo and key; a wav also tells of the bars of a loop
    """

    title: str
    comment: str
    software: str
    music: Music = field(default_factory=Music)

    @property
    def id3(self) -> dict[str, str]:
        """Frames of ID3 by name: ID3v2.3 has the tempo as a whole number."""
        music = self.music
        frames = {"TBPM": f"{music.tempo:.0f}"} if music.tempo else {}
        return frames | ({"TKEY": key_symbol(music.key)} if music.key else {})

    @property
    def vorbis_comments(self) -> list[str]:
        """Vorbis comments under the names that DJ programs and DAWs read."""
        return list(self._vorbis_comments())

    def _vorbis_comments(self) -> Iterator[str]:
        if self.music.tempo:
            yield f"BPM={self.music.tempo:.10g}"
        if self.music.key:
            for name in ("KEY", "INITIALKEY"):
                yield f"{name}={key_symbol(self.music.key)}"
