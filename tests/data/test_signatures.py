"""What a file is by its first bytes."""

import pytest

from data.signatures import ENOUGH, picture, something_else


@pytest.mark.parametrize(
    ("head", "what"),
    [
        (b"words", "a text file"),
        ("größe ".encode() * 700, "a text file"),  # a letter is cut in two at the end
        ("größe ".encode("utf-16"), "a text file"),
        (b"\xef\xbb\xbfvideo,segment\n", "a text file"),
        (b"#EXTM3U\n#EXTINF:10,\nother.ts\n", "a text file"),
        (b"  \n<!doctype HTML><html>", "a web page"),
        (b"ID3\x04" + bytes(90), "a sound file (MP3)"),
        (b"\xff\xfb\x90\x44" + bytes(90), "a sound file (MP3 or AAC)"),
        (b"\xff\xf1\x50\x80" + bytes(90), "a sound file (MP3 or AAC)"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a sound file (WAV)"),
        (b"FORM\0\0\0\x24AIFF", "a sound file (AIFF)"),
        (b"fLaC\0\0\0\x22", "a sound file (FLAC)"),
        (b"\0\0\0\x20ftypM4A \0\0\0\0", "a sound file (M4A)"),
        (b"OggS\0\x02" + bytes(22) + b"\x01vorbis", "a sound file (Ogg)"),
        (b"PK\x03\x04" + bytes(9), "a ZIP archive"),
        (b"%PDF-1.7\n\xe2\xe3", "a PDF document"),
    ],
)
def test_what_is_no_video_is_named(head, what):
    assert something_else(head[:ENOUGH]) == what


@pytest.mark.parametrize(
    "head",
    [
        b"RIFF\x24\0\0\0AVI LIST",
        b"\0\0\0\x20ftypisom\0\0\x02\0",
        b"\x1a\x45\xdf\xa3\x01\0\0\0",
        b"OggS\0\x02" + bytes(22) + b"\x80theora" + bytes(30) + b"\x01vorbis",
        b"FLV\x01\x05\0\0\0\x09",
        b"\0\0\x01\xba\x44",
        b"\x47\x40\0\x10" + bytes(184),
        b"YUV4MPEG2 W4 H4 F25:1\nFRAME\n" + b"((((" * 6,
        b"GIF89a\x20\0\x18\0",
        b"\xff\xd8\xff\xe0\0\x10JFIF",  # films of such pictures begin so
        bytes(range(256)),
        b"\xe9" * 50,
    ],
)
def test_what_may_be_a_video_is_left_to_the_decoder(head):
    assert something_else(head) is None


def test_pictures_are_named_with_their_format():
    assert picture(b"\x89PNG\r\n") == "one picture (PNG)"
    assert picture(b"RIFF\x24\0\0\0WEBPVP8 ") == "one picture (WebP)"
    assert picture(b"RIFF\x24\0\0\0AVI ") == "one picture"
