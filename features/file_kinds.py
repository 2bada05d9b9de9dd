"""Kinds of files that hold no sound, or none that can be read, by their first bytes."""

from __future__ import annotations

import re
import string

from features.text_files import placeholder

HEAD = 4096
"""So many of the first bytes are enough to tell."""

_OTHER_SOUND = (
    (rb".{4}(ftyp|moov)", "an MP4 file (such as AAC or ALAC)"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file (WMA)"),
    (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM file"),
    (rb"#!AMR", "an AMR file"),
    (rb"MAC ", "a Monkey's Audio file"),
    (rb"wvpk", "a WavPack file"),
    (rb"MPCK|MP\+", "a Musepack file"),
    (rb"TTA1", "a True Audio file"),
    (rb"DSD |FRM8.{8}DSD ", "a DSD file"),
    (rb"\.RMF|\.ra\xfd", "a RealAudio file"),
    (rb"FLV\x01", "a Flash video"),
    (rb"RIFF.{4}AVI ", "an AVI video"),
    (rb"ADIF", "an AAC file"),
)
_NO_SOUND = (
    (rb"(\xef\xbb\xbf)?\s*<\?xml|\s*<(Error|rss|svg)\b", "XML"),
    (rb"PK\x03\x04|PK\x05\x06", "a zip archive"),
    (rb"%PDF-", "a PDF document"),
    (rb"MThd", "a MIDI file"),
    (rb"RIFF.{4}RMID", "a MIDI file"),
    (rb"RIFF.{4}sfbk", "a soundfont"),
    (rb"\x1f\x8b", "a gzip archive"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (rb"Rar!\x1a", "a RAR archive"),
    (rb"\x89PNG|\xff\xd8\xff|GIF8[79]a", "a picture"),
    (rb"\x00\x05\x16[\x00\x07]", "what macOS keeps beside a file (AppleDouble)"),
)
_TEXT = frozenset(string.printable.encode()) - frozenset(b"\x0b\x0c")


def sniff_magic(head: bytes, name: str) -> str | None:
    """What to say of a file, "is a web page (HTML), not sound", where the first bytes leave no doubt."""
    if found := placeholder(head):
        return f"{found}; expected wav, flac, ogg or mp3"
    for pattern, kind in _OTHER_SOUND:
        if re.match(pattern, head, re.DOTALL):
            return _cannot(kind, name)
    if _is_adts(head):
        return _cannot("an AAC file (ADTS)", name)
    for pattern, kind in _NO_SOUND:
        if re.match(pattern, head, re.DOTALL | re.IGNORECASE):
            return f"is {kind}, not sound; expected wav, flac, ogg or mp3"
    return None


def guess_kind(head: bytes) -> str | None:
    """What a file holds that could not be read as sound: JSON, text, zeros."""
    if not head.strip(b"\0"):
        return "zeros"
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # the last character may be cut
            return None
        text = head[: error.start].decode("utf-8")
    if not all(byte in _TEXT for byte in text.encode() if byte < 128):
        return None
    return "JSON" if text.lstrip()[:1] in ("{", "[") else "text"


def _cannot(kind: str, name: str) -> str:
    stem = name.rpartition(".")[0] or name
    shown = [f'"{text}"' if " " in text else text for text in (name, f"{stem}.wav")]
    command = f"ffmpeg -i {shown[0]} {shown[1] if shown[1] != shown[0] else 'converted.wav'}"
    return f"is {kind}, which cannot be read: convert it to wav, flac, ogg or mp3, e.g. {command}"


def _is_adts(head: bytes) -> bool:
    """Two frames of AAC: 12 set bits, version, layer 0; the length of a frame in 13 bits."""

    def is_frame(at: int) -> bool:
        return head[at : at + 1] == b"\xff" and len(head) > at + 6 and head[at + 1] & 0xF6 == 0xF0

    return is_frame(0) and is_frame((head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5)
