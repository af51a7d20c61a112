"""What is raised when a zip or tar is read that is damaged or encrypted."""

import lzma
import struct
import tarfile
import zipfile
import zlib

_ERRORS = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, ValueError, OverflowError),
)


def is_damage(error: Exception) -> bool:
    """Whether an error says that an archive is damaged or encrypted, rather than that a file cannot be used."""
    if isinstance(error, OSError):
        # bz2 and gzip raise it without a number; the system's errors, such as a full disk, have one.
        return error.errno is None
    # zipfile has no class of its own for a missing password.
    return isinstance(error, _ERRORS) or type(error) is RuntimeError
