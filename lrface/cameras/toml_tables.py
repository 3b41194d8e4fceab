"""Reading a TOML file with types: an error names the line and the field."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from lrface.errors import LrfaceError
from lrface.models.safe_files import read_regular

Place: TypeAlias = "tuple[str | int, ...]"
_T = TypeVar("_T")
_MAX_BYTES = 2**18
_LONGEST_VALUE = 40  # lines of one value; of a longer one a line near it is told


class TomlFile:
    """A TOML file.

    Args:
        path: The file.

    Attributes:
        path: The file.
        root: Its outermost table.

    Raises:
        LrfaceError: It cannot be read, or is no TOML.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            data = read_regular(path, _MAX_BYTES)
        except OSError as error:
            raise LrfaceError(f"cannot read {path} ({error.strerror or error}): check the path") from error
        try:
            self._text = data.decode("utf-8").replace("\r\n", "\n")
            values = tomllib.loads(self._text)
        except (ValueError, RecursionError) as error:  # ValueError: also of a number of thousands of digits
            raise LrfaceError(f"{path} is no TOML: {error}") from error
        self.root = Table(self, (), values)

    def error(self, place: Place, why: str) -> LrfaceError:
        """The error for a field, with the line in which its value begins."""
        return LrfaceError(f"{self.path}, line {self._line(place)}: {_written(place)}{why}")

    def _line(self, place: Place) -> int:
        """The line, from 1: after the longest beginning of the file that is valid and does not hold the field yet."""
        lines = self._text.split("\n")
        before, after = 0, len(lines)  # lines of a beginning that does not hold the field, and of one that does
        while after - before > 1:
            middle = (before + after) // 2
            end, values = middle, _beginning(lines, middle)
            while values is None and end < min(after - 1, middle + _LONGEST_VALUE):  # inside a value of several lines
                end, values = end + 1, _beginning(lines, end + 1)
            if values is None or _holds(values, place):
                after = middle
            else:
                before = end
        while after < len(lines) and not lines[after - 1].strip():
            after += 1
        return after


def _beginning(lines: list[str], count: int) -> Any:
    """What the first lines of a file say; None where they end inside a value."""
    try:
        return tomllib.loads("\n".join(lines[:count]))
    except ValueError:
        return None


def _brief(value: object) -> str:
    try:
        return str(value)[:60]
    except ValueError:  # Python writes no numbers of thousands of digits
        return "such a long number"


def _holds(values: Any, place: Place) -> bool:
    for key in place:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return False
    return True


def _written(place: Place) -> str:
    """The field as it is said in a message: `cameras[2].rotate: `, numbers from 1."""
    text = ""
    for key in place:
        text += f"[{key + 1}]" if isinstance(key, int) else f".{key}" if text else key
    return f"{text}: " if text else ""


class Table:
    """A table of a TOML file, read field by field.

    Args:
        file: Where it is from.
        place: Where in the file.
        values: Its values.
    """

    def __init__(self, file: TomlFile, place: Place, values: dict[str, Any]) -> None:
        self.file, self.place, self._values = file, place, values
        self._known: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def error(self, key: str | None, why: str) -> LrfaceError:
        """An error for one field, or for the whole table."""
        return self.file.error(self.place if key is None else (*self.place, key), why)

    def value(self, key: str, kinds: tuple[type, ...], expected: str, default: _T) -> Any | _T:
        """The value of a field of one of these types; `default` where there is none (`...`: then it is an error)."""
        self._known.append(key)
        if key not in self._values:
            if default is Ellipsis:
                raise self.error(None, f"has no `{key}`: add one, {expected}")
            return default
        value = self._values[key]
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self.error(key, f"give {expected}, not {_brief(value)!r}")
        return value

    def text(self, key: str, expected: str = "a text", default: Any = ...) -> Any:
        """A text that is not empty."""
        value = self.value(key, (str,), expected, default)
        if value == "" and key in self:
            raise self.error(key, f"is empty: give {expected}")
        return value

    def number(self, key: str, low: float, high: float, default: Any = ...) -> Any:
        """A number from `low` to `high`."""
        expected = f"a number from {low:g} to {high:g}"
        value = self.value(key, (int, float), expected, default)
        if value is not default and not low <= value <= high:
            raise self.error(key, f"give {expected}, not {_brief(value)}")
        return float(value) if value is not default else value

    def whole(self, key: str, choices: Sequence[int] | range, default: Any = ..., words: Sequence[str] = ()) -> Any:
        """An integer out of `choices`, or one of `words`."""
        shown = f"{choices[0]} to {choices[-1]}" if isinstance(choices, range) else ", ".join(map(str, choices))
        shown += "".join(f' or "{word}"' for word in words)
        value = self.value(key, (int, str) if words else (int,), f"a whole number: {shown}", default)
        if value is not default and value not in choices and value not in words:
            raise self.error(key, f"give one of {shown}, not {_brief(value)}")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        return bool(self.value(key, (bool,), "true or false", default))

    def array(self, key: str, expected: str, default: Any = ...) -> Any:
        """An array."""
        return self.value(key, (list,), expected, default)

    def table(self, key: str) -> Table | None:
        """A table, or None where there is none."""
        values = self.value(key, (dict,), f"a table, [{key}]", None)
        return None if values is None else Table(self.file, (*self.place, key), values)

    def tables(self, key: str) -> list[Table]:
        """A list of tables, empty where there is none."""
        values: list[Any] = self.value(key, (list,), f"tables, [[{key}]]", [])
        for i, each in enumerate(values):
            if not isinstance(each, dict):
                raise self.file.error((*self.place, key, i), f"give tables, [[{key}]], not {_brief(each)!r}")
        return [Table(self.file, (*self.place, key, i), each) for i, each in enumerate(values)]

    def end(self) -> None:
        """Refuses fields that nobody asked for: a misspelt one would be without effect."""
        for key in self._values:
            if key not in self._known:
                near = difflib.get_close_matches(key, self._known, 1)
                hint = f"did you mean `{near[0]}`?" if near else f"there are: {', '.join(self._known)}"
                raise self.error(key, f"is unknown; {hint}")
