"""What may be shown of text from outside: no secret of a URL, no character that steers a terminal, no endless word.

`LrfaceError` passes its message through `shown`, so no error tells a password, wherever the URL was typed.
"""

from __future__ import annotations

import re
import unicodedata

HIDDEN = "***"
MAX_WORD = 500  # characters without a blank: a path may be so long, a picture pasted as base64 is longer
_SCHEMES = (
    r"rtsps?|rtspu|rtspt|rtmps?|rtmpe|rtmpt|https?|hls|srt|udp|tcp|tls|rtp|srtp|mmsh?|mmst|s?ftps?|rist|whep|wss?"
)
_NAME = r"[^\s:@'\"(/\\]"  # a letter of a user's name
# A scheme with its colon and slashes, also with too few or with backslashes (`rtsp:/`, `rtsp//`, `rtsp:user:...`), or
# a user and password without any scheme. One letter and a slash is a drive of Windows.
_URL = re.compile(
    rf"[a-z][a-z0-9+.-]{{1,15}}:[/\\]+|(?:{_SCHEMES})(?:[:;](?:\s?[/\\]+)?|[/\\]{{2,}})(?=\S)"
    rf"|(?<!{_NAME})(?:{_NAME}{{2,}}|(?<=[/\\]){_NAME}|{_NAME}(?=:[^/\\])):(?=[^\s@]*@)",
    re.IGNORECASE,
)
_SCHEME = re.compile(rf"(?:{_SCHEMES})\b|[^:;/\\]+:[/\\]", re.IGNORECASE)
_HOST = re.compile(r"[\w-]*(?:\.[\w-]*)+(?::\d{1,5})?|localhost(?::\d{1,5})?|\[[0-9A-Fa-f:.%]+\](?::\d{1,5})?|[\w-]+")
# Path segments of cameras that hold no key: "live", "Streaming", "Channels", "101", "h264", "axis-media", "index.m3u8".
_PLAIN = re.compile(
    r"(?:(?:live|stream(?:ing)?|channels?|ch|cam(?:era)?s?|videos?|media|main|sub|h26[45]|mpe?g4|mjpe?g|onvif|profile|"
    r"axis|realmonitor|unicast|index|playlist|master|feed|preview|track|id)\d{0,4}[-_]?)*\d{0,4}(?:[-_]\d{1,4})*"
    r"(?:\.(?:m3u8|mpd|sdp|cgi|amp|smp|mp4|mjpe?g|jpe?g|ts|flv))?",
    re.IGNORECASE,
)
_COLLECTION = re.compile(r"[A-Za-z_]\w{0,199}", re.ASCII)  # of a gallery in Milvus: it has a name, and no key
_LONG = re.compile(rf"\S{{{MAX_WORD + 1},}}")
_JOINERS = "\u200c\u200d"  # letters of Persian and Indian names, and of emoji, need them
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters by their category, yet nothing is drawn


def redact(text: str) -> str:
    """The text without the secrets of the URLs in it, well-formed or misspelt.

    Of a URL are kept: scheme, host, port, and the segments of the path that cameras commonly have (`/live/ch1`). User,
    password, query and every other segment become `***`. Passwords often hold an `@`, `/`, `?` or blank that nobody
    escaped, so everything up to the last `@` goes.
    """
    done = []
    while found := _URL.search(text):
        before, start, rest = text[: found.start()], found.group(), text[found.end() :]
        if not _SCHEME.match(start):  # a user's name, not a scheme
            start = ""
        line = rest.partition("\n")[0]
        end = _end(before[-1:], line)
        while (at := line.find("@", end)) >= 0 and not _URL.search(line, end, at + 1):
            end = at + 1 + _end(before[-1:], line[at + 1 :])  # the password holds what looks like the end of a URL
        _, credentials, url = line[:end].rpartition("@")
        plain = _COLLECTION if start.lower().startswith("milvus") else _PLAIN
        done += [before, start, f"{HIDDEN}@" if credentials else "", _without_keys(url, plain)]
        text = rest[end:]
    return "".join(done) + text


def escape(text: str) -> str:
    r"""The text with control, format and invisible characters written as `\x1b`, `\n`, `\u200b`.

    Raw, they clear a terminal, forge a second line of results, or make one name look like another.
    """
    if text.isprintable() and not any(letter in text for letter in _BLANK_LETTERS):
        return text
    return "".join(letter if is_visible(letter) else letter.encode("unicode_escape").decode() for letter in text)


def shown(text: str) -> str:
    """The text as one line of a message may hold it: escaped, words of more than `MAX_WORD` letters cut, redacted."""
    return redact(_LONG.sub(_cut, escape(text)))


def _cut(word: re.Match[str]) -> str:
    start = HIDDEN if "@" in word.group() else word.group()[:60]  # what is left of a password is no secret any more
    return f"{start}... ({len(word.group())} characters)"


def csv_cell(text: str) -> str:
    """A text for a table: what a spreadsheet would take for a formula by its first character begins with a quote."""
    try:
        float(text)
    except ValueError:
        return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
    return text


def is_visible(letter: str) -> bool:
    """Whether a character may be shown as it is: neither a control, format or unassigned one, nor a blank letter."""
    if letter in _JOINERS:
        return True
    return letter not in _BLANK_LETTERS and unicodedata.category(letter) not in ("Cc", "Cf", "Zl", "Zp", "Co", "Cn")


def _end(quote: str, text: str) -> int:
    """Where a URL ends in a message: at its closing quote or bracket, or where the sentence goes on after `: `."""
    closing = {"'": r"'(?!\w)", '"': r'"(?!\w)', "(": r"\)(?!\w)", "`": "`"}.get(quote)
    found = re.search(rf": (?![/\\])|{closing}" if closing else r": (?![/\\])", text)
    return found.start() if found else len(text)


def _without_keys(url: str, plain: re.Pattern[str]) -> str:
    """Host, port and the harmless segments of what follows a URL's scheme and credentials."""
    address, mark, _ = re.match(r"([^?#]*)([?#]?)(.*)", url, re.DOTALL).groups()  # type: ignore[union-attr]
    host, *segments = re.split(r"[/\\]", address)
    named = _HOST.match(host)
    rest = host[named.end() :] if named else host
    if rest[:1] == ":" or not named:  # `user:password` with the `@` forgotten is no host
        parts = [HIDDEN if rest else ""]
    else:
        parts = [host[: named.end()] + (HIDDEN if rest else "")]
    for segment in segments:
        kept = segment if plain.fullmatch(segment) else HIDDEN
        if not (kept == HIDDEN and parts[-1] == HIDDEN):
            parts.append(kept)
    return "/".join(parts) + ("?" + HIDDEN if mark else "")
