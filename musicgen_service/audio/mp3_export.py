"""Writes one mp3 with pydub, as a program of its own: samples on standard input, the rest as arguments.

pydub puts its temporary files into the process's one temporary folder, leaves them behind when it fails, and runs an
ffmpeg that nobody else can end. In a process of its own, none of that touches the requests side by side. It imports
nothing of the service, so that it starts in a few hundredths of a second.

An error of the operating system is told by its number on standard output, one of the encoder on standard error.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Sequence

with warnings.catch_warnings():
    # pydub looks for a system ffmpeg as it is imported and warns; it is told of the packaged one below.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.exceptions import CouldntEncodeError


def main(arguments: Sequence[str]) -> int:
    """Write the file.

    Parameters
    ----------
    arguments : ffmpeg's path; samples per second; channels; bytes of samples; bit rate, such as `320k`; path of the
        file; folder for temporary files; tags as a JSON object

    Returns
    -------
    The exit status: 0 when the file is written.
    """
    AudioSegment.converter, rate, channels, size, bitrate, target, tempfile.tempdir, tags = arguments
    try:
        pcm = sys.stdin.buffer.read()
        if len(pcm) != int(size):
            return 1  # the service has ended meanwhile
        segment = AudioSegment(data=pcm, sample_width=2, frame_rate=int(rate), channels=int(channels))
        segment.export(target, format="mp3", bitrate=bitrate, tags=json.loads(tags)).close()
    except OSError as error:
        print(error.errno or "")
        return 1
    except CouldntEncodeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
