"""The models folder: `manifest.json` and its entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lrface.errors import ModelError
from lrface.models.safe_files import number_in, read_json, whole_number_in
from lrface.models.serving import NetworkSet, WidthRange, read_range, width_ranges
from lrface.models.sessions import read_model

SCHEMA = 1
MAX_SIDE, MAX_DIM = 8192, 65536
"""Of an input in pixels, and of an embedding: what is larger is damage."""

_FIX_FOLDER = "reinstall lrface, or name a folder that holds manifest.json and its models"


def models_folder() -> Path:
    """The models that belong to this installation: those of the wheel, else those of the checkout."""
    package = Path(__file__).resolve().parents[1]
    wheel = package / "_models"
    return wheel if (wheel / "manifest.json").is_file() else package.parent / "models"


@dataclass(frozen=True, slots=True)
class ModelInput:
    """How a uint8 picture becomes the graph's tensor: NCHW float32, (x - mean) * scale.

    Attributes:
        name: Of the graph's input.
        channels: "RGB" or "BGR".
        mean: In grey levels, 0..255.
        scale: Applied after the mean.
        height: Pixels; None where the graph takes any.
        width: Pixels; None where the graph takes any.
        multiple: Height and width must be multiples of it (detectors).
    """

    name: str
    channels: str
    mean: float
    scale: float
    height: int | None = None
    width: int | None = None
    multiple: int = 1


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What every model of a manifest states: name, file (inside the folder), SHA-256, licence, card, input."""

    name: str
    file: str
    sha256: str
    license: str
    card: str
    input: ModelInput


@dataclass(frozen=True, slots=True)
class EmbedderEntry(ModelEntry):
    """An embedder: its level (side of the input in pixels), its space and its outputs (`quality` is optional).

    Attributes:
        serves: For each set of networks that it belongs to, the native widths in pixels of the faces that it embeds:
            from (inclusive), to (exclusive).
        enrolment: Whether it embeds every photo of enrolment.
    """

    level: int
    template: str
    space: str
    output: str
    dim: int
    normalized: bool
    quality: str | None = None
    serves: Mapping[NetworkSet, tuple[float, float]] = field(default_factory=dict)
    enrolment: bool = False


@dataclass(frozen=True, slots=True)
class EarlyExit:
    """When a detector stops before the coarser levels of its pyramid: no candidate looks like a part of a larger face.

    Attributes:
        score: Of a candidate that may be a part of a larger face, 0..1, at least.
        height: Of such a candidate, working pixels, at least.
        side: Long side in working pixels of the largest level that shows parts of every larger face. Above it a
            coarser level always follows.
    """

    score: float
    height: float
    side: float


@dataclass(frozen=True, slots=True)
class PyramidSettings:
    """How a detector searches an image pyramid for faces that are too large for one scale.

    Attributes:
        largest_face: Height in working pixels from which a face is left to the next coarser level.
        coarsest_side: A level whose long side has at most so many working pixels is the last one.
        early_exit: None: every level is searched.
    """

    largest_face: float = 224.0
    coarsest_side: float = 192.0
    early_exit: EarlyExit | None = None


@dataclass(frozen=True, slots=True)
class DetectorEntry(ModelEntry):
    """A detector in the manifest's contract: its three outputs, its score threshold (0..1), its pyramid."""

    boxes: str
    scores: str
    landmarks: str
    score_threshold: float
    pyramid: PyramidSettings = PyramidSettings()


@dataclass(frozen=True, slots=True)
class LandmarkerEntry(ModelEntry):
    """A network that refines landmarks: the names of its outputs."""

    landmarks: str
    error: str


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """What `Manifest.verify` found for one model; `detail` is "ok" or what is wrong."""

    name: str
    file: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The models of one folder.

    Attributes:
        folder: Where they lie.
        embedders: By level, pixels.
        detectors: In the manifest's order.
        landmarkers: Likewise.
        ranges: Which network embeds faces of which width, for each set of networks; empty without embedders.
        enrolment_level: Of the network that embeds every photo of enrolment; None without embedders.
    """

    folder: Path
    embedders: dict[int, EmbedderEntry]
    detectors: tuple[DetectorEntry, ...]
    landmarkers: tuple[LandmarkerEntry, ...] = ()
    ranges: Mapping[NetworkSet, tuple[WidthRange, ...]] = field(default_factory=dict)
    enrolment_level: int | None = None

    @classmethod
    def load(cls, folder: str | Path | None = None) -> Manifest:
        """Reads `manifest.json`; no model file is opened yet.

        Args:
            folder: A models folder; None for the bundled one.

        Raises:
            ModelError: No manifest, not JSON, another schema, an entry that is incomplete or leaves the folder.
        """
        where = Path(folder) if folder is not None else models_folder()
        path = where / "manifest.json"
        try:
            data = read_json(path)
        except OSError as error:
            raise ModelError(f"no models at {where} ({error.strerror or error}): {_FIX_FOLDER}") from error
        except ValueError as error:
            raise ModelError(f"{path} is not JSON ({error}): {_FIX_FOLDER}") from error
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise ModelError(f"{path} has schema {schema!r}, this lrface reads {SCHEMA}: update lrface or the models")
        embedders: dict[int, EmbedderEntry] = {}
        detectors: list[DetectorEntry] = []
        landmarkers: list[LandmarkerEntry] = []
        try:
            for item in data["models"]:
                if item["kind"] == "embedder":
                    entry = _embedder(item)
                    if entry.level in embedders:
                        raise ValueError(f"two embedders at level {entry.level}")
                    embedders[entry.level] = entry
                elif item["kind"] == "detector":
                    detectors.append(_detector(item))
                elif item["kind"] == "landmarker":
                    landmarkers.append(_landmarker(item))
            ranges = width_ranges({level: entry.serves for level, entry in embedders.items()})
            enrolment = _enrolment_level(list(embedders.values()))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ModelError(f"{path} is malformed ({what}): {_FIX_FOLDER}") from error
        return cls(where, dict(sorted(embedders.items())), tuple(detectors), tuple(landmarkers), ranges, enrolment)

    @property
    def enrolment(self) -> EmbedderEntry:
        """The network that embeds every photo of enrolment.

        Raises:
            ModelError: The manifest names no embedder.
        """
        if self.enrolment_level is None:
            raise ModelError(f"{self.folder} holds no embedder, so there is no space to compare faces in")
        return self.embedders[self.enrolment_level]

    @property
    def detector(self) -> DetectorEntry:
        """The first detector.

        Raises:
            ModelError: The manifest names none.
        """
        if not self.detectors:
            raise ModelError(f"{self.folder} holds no detector: pass one by path (YuNet, SCRFD), or {_FIX_FOLDER}")
        return self.detectors[0]

    @property
    def entries(self) -> tuple[ModelEntry, ...]:
        """All models."""
        return (*self.embedders.values(), *self.detectors, *self.landmarkers)

    def read(self, entry: ModelEntry) -> bytes:
        """The bytes of a model, hash checked.

        Raises:
            ModelError: Missing, or its SHA-256 is not the manifest's.
        """
        return read_model(self.folder / entry.file, entry.sha256)

    def verify(self) -> list[ModelStatus]:
        """Reads and hashes every model."""
        found = []
        for entry in self.entries:
            try:
                self.read(entry)
                found.append(ModelStatus(entry.name, entry.file, True, "ok"))
            except ModelError as error:
                found.append(ModelStatus(entry.name, entry.file, False, str(error)))
        return found


def _common(item: Mapping[str, Any]) -> dict[str, Any]:
    file, given = str(item["file"]), item["input"]
    if Path(file).name != file or file in ("", ".", "..") or set(file) & set("\\:\0"):
        raise ValueError(f"file {file!r} leaves the models folder")
    if given["channels"] not in ("RGB", "BGR"):
        raise ValueError(f"channels {given['channels']!r}")
    sha256 = str(item["sha256"])
    if len(sha256) != 64:
        raise ValueError(f"sha256 of {file} has {len(sha256)} digits")
    sizes = {
        key: whole_number_in(given[key], 1, MAX_SIDE, key)
        for key in ("height", "width", "multiple")
        if given.get(key) is not None
    }
    return {
        "name": str(item["name"]),
        "file": file,
        "sha256": sha256,
        "license": str(item["license"]),
        "card": str(item["card"]),
        "input": ModelInput(
            str(given["name"]),
            given["channels"],
            number_in(given["mean"], -1e6, 1e6, "mean"),
            number_in(given["scale"], -1e6, 1e6, "scale"),
            **sizes,
        ),
    }


def _embedder(item: Mapping[str, Any]) -> EmbedderEntry:
    output, level = item["output"], whole_number_in(item["level"], 1, MAX_SIDE, "level")
    entry = EmbedderEntry(
        **_common(item),
        level=level,
        template=str(item["template"]),
        space=str(item["space"]),
        output=str(output["name"]),
        dim=whole_number_in(output["dim"], 1, MAX_DIM, "dim"),
        normalized=bool(output["normalized"]),
        quality=None if output.get("quality") is None else str(output["quality"]),
        serves={NetworkSet(name): read_range(given) for name, given in dict(item.get("serves") or {}).items()},
        enrolment=item.get("enrolment", False) is True,
    )
    if entry.template != "arcface-112" or not (entry.input.height == entry.input.width == level):
        raise ValueError(f"{entry.name}: template, input size and level do not agree")
    return entry


def _enrolment_level(entries: list[EmbedderEntry]) -> int | None:
    """The level of the one network of enrolment: the one so marked, or without a mark the one of the largest input."""
    if not entries:
        return None
    if len({(entry.space, entry.dim, entry.template) for entry in entries}) > 1:
        raise ValueError("the embedders do not share one space")
    marked = [entry.level for entry in entries if entry.enrolment]
    if len(marked) > 1 or (not marked and any(entry.serves for entry in entries)):
        raise ValueError(f"{len(marked)} networks have enrolment: true, exactly one must")
    return marked[0] if marked else max(entry.level for entry in entries)


def _detector(item: Mapping[str, Any]) -> DetectorEntry:
    output = item["output"]
    return DetectorEntry(
        **_common(item),
        boxes=str(output["boxes"]),
        scores=str(output["scores"]),
        landmarks=str(output["landmarks"]),
        score_threshold=number_in(item["score_threshold"], 0.0, 1.0, "score_threshold"),
        pyramid=_pyramid(item.get("pyramid", {})),
    )


def _pyramid(given: Any) -> PyramidSettings:
    """The optional settings of a detector's pyramid; what is missing has the defaults of `PyramidSettings`."""
    default = PyramidSettings()
    given = {"largest_face": default.largest_face, "coarsest_side": default.coarsest_side, "early_exit": None} | given
    early = given["early_exit"]
    return PyramidSettings(
        _positive(given, "largest_face"),
        _positive(given, "coarsest_side"),
        None if early is None else EarlyExit(*(_positive(early, key) for key in ("score", "height", "side"))),
    )


def _positive(given: Any, key: str) -> float:
    return number_in(given[key], 1e-6, 1e6, key)


def _landmarker(item: Mapping[str, Any]) -> LandmarkerEntry:
    output = item["output"]
    return LandmarkerEntry(**_common(item), landmarks=str(output["landmarks"]), error=str(output["error"]))
