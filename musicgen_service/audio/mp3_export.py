"""Program that writes one mp3 with pydub: samples on standard input, everything else as arguments.

pydub puts its temporary files into the process-wide temporary folder, does not delete them when it fails, and runs an
ffmpeg that cannot be killed from outside. In a separate process, none of that affects concurrent requests. The program
imports nothing of the service, so that it starts in a few hundredths of a second.

It reports an operating system error as its number on standard output, and an encoder error on standard error.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Sequence

with warnings.catch_warnings():
    # pydub looks for a system ffmpeg on import and warns; the packaged one is set below.
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
            return 1  # the service has exited in the meantime
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
