"""What a message may show: no secret, no control character, no endless word."""

from __future__ import annotations

import time
import traceback

import pytest

import lrface
from lrface.errors import EnrolmentError, LrfaceError
from lrface.redaction import MAX_WORD, csv_cell, escape, redact, shown

SECRET = "hunter2"

WITH_SECRETS = [
    f"rtsp://admin:{SECRET}@10.0.0.5/live",
    f"rtsp://admin:p@{SECRET}@10.0.0.5:554/live",
    f"rtsp://admin:p/{SECRET}@10.0.0.5:554/live",
    f"rtsp://admin:p?{SECRET}@10.0.0.5:554/live",
    f"rtsp://admin:p#{SECRET}@10.0.0.5:554/live",
    f"rtsp://admin:p: {SECRET}@10.0.0.5:554/live",
    f"rtsp://admin:p {SECRET}@10.0.0.5:554/live",
    f"http://10.0.0.5/video.cgi?user=admin&pwd={SECRET}",
    f"rtsp://10.0.0.5/user=admin&password={SECRET}&channel=1",
    f"rtsps://{SECRET}@10.0.0.5/live#{SECRET}",
    f"rtmp://10.0.0.5/live2/{SECRET}-abcd",
    f"rtsps://10.0.0.5:7441/{SECRET}",
    f"http://10.0.0.5:8080/live/admin/{SECRET}/12345.ts",
    f"srt://10.0.0.5:99?passphrase={SECRET}",
    f"rtsp:/admin:{SECRET}@10.0.0.5/live",  # misspelt, or a path made of a URL
    f"rtsp:admin:{SECRET}@10.0.0.5/live",
    f"rtsp//admin:{SECRET}@10.0.0.5/live",
    f"rtsp;//admin:{SECRET}@10.0.0.5/live",
    f"rstp//admin:{SECRET}@10.0.0.5/live",
    f"rtsp:\\\\admin:{SECRET}@10.0.0.5",
    f"rtsp: //admin:{SECRET}@10.0.0.5",
    f"RTSP://admin:{SECRET}@10.0.0.5/",
    f"/home/me/rtsp:/admin:{SECRET}@10.0.0.5/live",
    f"admin:{SECRET}@10.0.0.5/live/{SECRET}",
    f"--rtmp://10.0.0.5/live/{SECRET}",
    f"{'x' * 99}rtsp://10.0.0.5/live/{SECRET}",
]


@pytest.mark.parametrize("text", WITH_SECRETS)
@pytest.mark.parametrize(
    "message", ["{}", "no gallery at {}: check the path", "'{}' is no number", "a ({}), b", "`x {} y`"]
)
def test_secrets_of_urls_are_hidden(text, message):
    safe = redact(message.format(text))
    assert SECRET not in safe
    assert "admin:" not in safe
    assert "10.0.0.5" in safe
    assert redact(safe) == safe
    assert SECRET not in str(LrfaceError(message.format(text)))


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("rtsp://u:pw@10.0.0.5:554/Streaming/Channels/101", "rtsp://***@10.0.0.5:554/Streaming/Channels/101"),
        ("http://cam.local/axis-media/media.amp?x=1", "http://cam.local/axis-media/media.amp?***"),
        ("rtsp://[::1]:554/ch01_sub", "rtsp://[::1]:554/ch01_sub"),
        ("rtsp://admin:12345", "rtsp://***"),  # the `@` was forgotten
        ("rtmp://h.tv/app/a/b/c", "rtmp://h.tv/***"),
        ("no gallery at rtsp:/u:pw@h: check the path", "no gallery at rtsp:/***@h: check the path"),
        ("'rtsp://u:pw@h.x' is not a number", "'rtsp://***@h.x' is not a number"),
        ("a rtsp://u:pw@h.x: b\nc http://u@h.y: d", "a rtsp://***@h.x: b\nc http://***@h.y: d"),
    ],
)
def test_what_is_left_of_a_url(text, safe):
    assert redact(text) == safe


@pytest.mark.parametrize(
    "text",
    ["/data/clip.mp4", "C:\\clips\\a=b.mp4", "C:\\a@b\\c.mp4", "C:/a@b.mp4", "clip@home.mp4", "data//clip.mp4 is empty",
     "insightface:buffalo_l", "cuda:0", "people/@eaDir/x.jpg: no face", "at 10:30: nobody", ""],
)  # fmt: skip
def test_other_text_stays(text):
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b[2Jx.jpg", "\\x1b[2Jx.jpg"),
        ("a\nlrface: all is well", "a\\nlrface: all is well"),
        ("a\r\tb\x7f\x9b", "a\\r\\tb\\x7f\\x9b"),
        ("Ada\u200b\u202e\ufeff\u2060\u200e", "Ada\\u200b\\u202e\\ufeff\\u2060\\u200e"),
        ("Ada\u3164\U000e0041", "Ada\\u3164\\U000e0041"),
        ("山田 Jürgen می\u200cر", "山田 Jürgen می\u200cر"),
    ],
)
def test_characters_that_steer_or_hide_are_escaped(text, safe):
    assert escape(text) == safe
    assert escape(safe) == safe
    assert str(EnrolmentError(text)) == safe


def test_a_picture_pasted_as_text_is_not_repeated():
    said = str(LrfaceError(f"there is no picture {'iVBORw0KGgo' * 1000}: check the path"))
    assert len(said) < 200
    assert "(11001 characters): check the path" in said or "(11001 characters) check the path" in said
    longest_path = "/" + "x" * (MAX_WORD - 1)
    assert shown(longest_path) == longest_path


@pytest.mark.parametrize(
    "word", ["A", "a:", "a@", "http://", "http://a: ", "u:p@h: ", "/", "\x1b", "rtsp:", "x.y-", "'"]
)
def test_long_text_takes_no_time(word):
    start = time.process_time()
    safe = shown(word * 20_000)
    assert time.process_time() - start < 5  # quadratic would take minutes
    assert shown(safe) == safe


@pytest.mark.parametrize(
    "text", [f"admin:{'x' * 600}{SECRET}@h", f"rtsp://{SECRET}{'x' * 600}@h", f"{SECRET}{'x' * 600}:p@h"]
)
def test_a_cut_word_tells_no_secret(text):
    assert SECRET not in shown(text)


@pytest.mark.parametrize("name", [f"rtsp://admin:{SECRET}@10.0.0.5/live", f"rtsp:/admin:{SECRET}@10.0.0.5/live"])
@pytest.mark.parametrize(
    "call",
    [lrface.read_image, lrface.open_detector, lrface.Manifest.load, lambda name: lrface.FaceMatcher.open(f"{name}/x"),
     lambda name: lrface.FaceMatcher.open(":memory:").enroll_folder(name)],
)  # fmt: skip
def test_no_traceback_holds_a_secret(call, name):
    with pytest.raises(LrfaceError) as caught:
        call(name)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("text", "cell"), [
    ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"), ("@Ana", "'@Ana"), ("+Ana", "'+Ana"), ("-Ana", "'-Ana"),
    ("\tAna", "'\tAna"), ("-0.25", "-0.25"), ("Ana", "Ana"), ("", ""),
])  # fmt: skip
def test_a_spreadsheet_takes_no_cell_for_a_formula(text: str, cell: str) -> None:
    assert csv_cell(text) == cell
