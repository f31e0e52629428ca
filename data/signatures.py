"""What a file is by its first bytes, where that is something else than a video.

Knows the beginnings of files that are taken for videos, and text. Does not know containers and
codecs of videos: whether a file is one is for the decoder to say. Names and suffixes mean nothing
here.
"""

ENOUGH = 4096  # bytes of a file that are looked at
BEGINNINGS = (
    (b"ID3", "a sound file (MP3)"),
    (b"fLaC", "a sound file (FLAC)"),
    (b"#!AMR", "a sound file (AMR)"),
    (b"MThd", "a sound file (MIDI)"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
)
PICTURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
MPEG_SOUND = tuple(bytes((0xFF, second)) for second in (*b"\xfb\xfa\xf3\xf2", *b"\xf1\xf0\xf9\xf8"))
SOUND_BRANDS = (b"M4A ", b"M4B ", b"M4P ")  # of MP4 files
OGG_SOUND, OGG_VIDEO = (b"vorbis", b"OpusHead", b"Speex"), (b"theora", b"OVP80")
TEXT_VIDEO = b"YUV4MPEG2"  # its first line is text, and its pixels may look like text
TYPED = frozenset(range(32, 127)) | frozenset(b"\t\n\r\f\x1b")  # ASCII that people write


def something_else(head: bytes) -> str | None:
    """Say what a file is that begins so, such as "a web page"; None when it may be a video.

    Args:
        head: The first `ENOUGH` bytes, or all.
    """
    for beginning, what in BEGINNINGS:
        if head.startswith(beginning):
            return what
    return _sound(head) or _text(head)


def picture(head: bytes) -> str:
    """Name a picture with its format, as far as the first bytes tell it."""
    formats = [name for beginning, name in PICTURES if head.startswith(beginning)]
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        formats = ["WebP"]
    return f"one picture ({formats[0]})" if formats else "one picture"


def _sound(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "a sound file (WAV)"
    if head[:4] == b"FORM" and head[8:11] == b"AIF":
        return "a sound file (AIFF)"
    if head[4:8] == b"ftyp" and head[8:12] in SOUND_BRANDS:
        return "a sound file (M4A)"
    if head[:2] in MPEG_SOUND:
        return "a sound file (MP3 or AAC)"
    if head[:4] == b"OggS" and not any(name in head for name in OGG_VIDEO):
        return "a sound file (Ogg)" if any(name in head for name in OGG_SOUND) else None
    return None


def _text(head: bytes) -> str | None:
    if head.startswith(TEXT_VIDEO) or not head:
        return None
    if not head.startswith((b"\xff\xfe", b"\xfe\xff")):  # else UTF-16, as editors mark it
        try:
            text = head.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            if error.start < len(head) - 3 or error.start == 0:  # else a letter is cut in two
                return None
            text = head[: error.start].decode("utf-8-sig")
        if any(ord(letter) < 128 and ord(letter) not in TYPED for letter in text):
            return None
        if text.lstrip().lower().startswith(("<!doctype html", "<html")):
            return "a web page"
    return "a text file"
