"""Recognition of unsupported files, so that the error can name what the file is."""

import re

NO_AUDIO = "the file is not audio that can be decoded"
ACCEPTED = "wav, aiff, mp3, flac, ogg, m4a, webm"

# Offset in the file, signature, and name of the format. Sources: each format's specification, and Gary Kessler's table
# of file signatures.
_OTHER_AUDIO = (
    (0, rb"MAC ", "Monkey's Audio"),
    (0, rb"wvpk", "WavPack"),
    (0, rb"DSD |FRM8.{8}DSD ", "DSD"),
    (0, rb"\.RMF|\.ra\xfd", "RealAudio"),
    (0, rb"\x0b\x77", "AC-3"),
    (0, rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|DTSHDHDR", "DTS"),
    (4, rb"\xf8\x72\x6f[\xba\xbb]", "TrueHD"),
    (0, rb"TTA[12]", "True Audio"),
    (0, rb"OFR ", "OptimFROG"),
    (0, rb"tBaK", "TAK"),
    (0, rb"MPCK|MP\+", "Musepack"),
    (0, rb"\.snd|dns\.", "Sun AU"),
    (0, rb"Creative Voice File", "Creative Voice"),
    (0, rb"\x02?#!SILK", "SILK"),
    (0, rb"Extended Module:|IMPM", "tracker module"),
    (0, rb"FLV\x01", "Flash video"),
    (8, rb"AVI ", "AVI"),
    (0, rb"\0\0\x01[\xba\xb3]|G.{187}G.{187}G", "MPEG stream"),
)
_NO_AUDIO = (
    (0, rb"MThd", "MIDI notes"),
    (0, rb"\x89PNG|GIF8|\xff\xd8\xff|II\*\0|MM\0\*|BM.{4}\0{4}|\0\0\x01\0[^\0]", "a picture"),
    (8, rb"WEBP", "a picture"),
    (4, rb"ftyp(avif|heic|heix|mif1)", "a picture"),
    (0, rb"%PDF-", "a PDF document"),
    (0, rb"PK\x03\x04|\x1f\x8b\x08|Rar!|7z\xbc\xaf|\xfd7zXZ|BZh[1-9]", "an archive"),
    (257, rb"ustar", "an archive"),
    (0, rb"\x7fELF|MZ.{58}", "a program"),
    (0, rb"(?:\xef\xbb\xbf)?\s*(?i:<!doctype html|<html|<head|<body)", "a web page"),
    (0, rb"(?i:#EXTM3U|\[playlist\]|ffconcat version|<asx|<smil|<\?xml[^>]*>\s*<(mpd|playlist|smil))", "a playlist"),
    (0, rb"\s*[{\[]\s*[\"{\[\]}]", "JSON text"),
)
_CODECS = {
    "ac3": "AC-3",
    "adpcm_ms": "MS ADPCM",
    "dca": "DTS",
    "eac3": "E-AC-3",
    "gsm_ms": "GSM 6.10",
    "mp2": "MPEG layer II",
    "wavpack": "WavPack",
    "wmalossless": "WMA Lossless",
    "wmapro": "WMA Pro",
    "wmavoice": "WMA Voice",
}
"""Readable names of ffmpeg's codecs, where the short names are not self-explanatory."""


def not_accepted(kind: str) -> str:
    """Error sentence for audio in a format that is not accepted."""
    return f"audio of the kind {kind} is not accepted; use wav, flac or mp3."


def refusal(head: bytes, error_output: str) -> str:
    """Explain in one sentence why a file cannot be used.

    Parameters
    ----------
    head : its first kilobyte
    error_output : ffmpeg's error output for it
    """
    for offset, pattern, kind in _OTHER_AUDIO:
        if re.match(pattern, head[offset:], re.DOTALL):
            return not_accepted(kind)
    for offset, pattern, kind in _NO_AUDIO:
        if re.match(pattern, head[offset:], re.DOTALL):
            return f"{NO_AUDIO} but {kind}; use {ACCEPTED}."
    if "matches no streams" in error_output:
        return f"{NO_AUDIO}: it has no sound track."
    if "moov atom not found" in error_output:
        return "the audio file is damaged: its end is missing."
    # The last one: earlier ones concern other tracks, such as cover art.
    if codecs := re.findall(r"Codec \((\w+)\) not on whitelist", error_output):
        return not_accepted(_CODECS.get(codecs[-1], codecs[-1]))
    return f"{NO_AUDIO} ({ACCEPTED})."
