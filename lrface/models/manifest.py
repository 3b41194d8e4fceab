"""The models folder: `manifest.json` and its entries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lrface.errors import ModelError
from lrface.models.safe_files import read_json
from lrface.models.serving import NetworkSet, WidthRange, bounds_of, width_ranges
from lrface.models.sessions import read_model

SCHEMA = 1
CALIBRATION = "calibration.json"

# What is outside of these bounds is damage.
Side = Annotated[int, Meta(ge=1, le=8192)]  # pixels
Dim = Annotated[int, Meta(ge=1, le=65536)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(ge=1e-6, le=1e6)]
Grey = Annotated[float, Meta(ge=-1e6, le=1e6)]
Width = Annotated[float, Meta(ge=0, le=1e6)]  # pixels
Sha256 = Annotated[str, Meta(pattern="^[0-9a-fA-F]{64}$")]

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
    channels: Literal["RGB", "BGR"]
    mean: Grey
    scale: Grey
    height: Side | None = None
    width: Side | None = None
    multiple: Side = 1


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """What every model of a manifest states: name, file (inside the folder), SHA-256, licence, card, input."""

    name: str
    file: str
    sha256: Sha256
    license: str
    card: str
    input: ModelInput

    def __post_init__(self) -> None:
        if Path(self.file).name != self.file or self.file in ("", ".", "..") or set(self.file) & set("\\:\0"):
            raise ValueError(f"file {self.file!r} leaves the models folder")


@dataclass(frozen=True, slots=True)
class EmbedderEntry(ModelEntry):
    """An embedder: its level (side of the input in pixels), its space and its outputs (`quality` is optional).

    Attributes:
        serves: For each set of networks that it belongs to, the native widths in pixels of the faces that it embeds:
            from (inclusive), to (exclusive); None for no bound.
        enrolment: Whether it embeds every photo of enrolment.
    """

    level: Side
    template: str
    space: str
    output: str
    dim: Dim
    normalized: bool
    quality: str | None = None
    serves: Mapping[NetworkSet, tuple[Width | None, Width | None]] = field(default_factory=dict)
    enrolment: bool = False

    def __post_init__(self) -> None:
        ModelEntry.__post_init__(self)
        if self.template != "arcface-112" or not (self.input.height == self.input.width == self.level):
            raise ValueError("template, input size and level do not agree")


@dataclass(frozen=True, slots=True)
class EarlyExit:
    """When a detector stops before the coarser levels of its pyramid: no candidate looks like a part of a larger face.

    Attributes:
        score: Of a candidate that may be a part of a larger face, 0..1, at least.
        height: Of such a candidate, working pixels, at least.
        side: Long side in working pixels of the largest level that shows parts of every larger face. Above it a
            coarser level always follows.
    """

    score: Positive
    height: Positive
    side: Positive


@dataclass(frozen=True, slots=True)
class PyramidSettings:
    """How a detector searches an image pyramid for faces that are too large for one scale.

    Attributes:
        largest_face: Height in working pixels from which a face is left to the next coarser level.
        coarsest_side: A level whose long side has at most so many working pixels is the last one.
        early_exit: None: every level is searched.
    """

    largest_face: Positive = 224.0
    coarsest_side: Positive = 192.0
    early_exit: EarlyExit | None = None


@dataclass(frozen=True, slots=True)
class DetectorEntry(ModelEntry):
    """A detector in the manifest's contract: its three outputs, its score threshold (0..1), its pyramid."""

    boxes: str
    scores: str
    landmarks: str
    score_threshold: Share
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
        calibration_sha256: Of `calibration.json`; None where the manifest does not say.
    """

    folder: Path
    embedders: dict[int, EmbedderEntry]
    detectors: tuple[DetectorEntry, ...]
    landmarkers: tuple[LandmarkerEntry, ...] = ()
    ranges: Mapping[NetworkSet, tuple[WidthRange, ...]] = field(default_factory=dict)
    enrolment_level: int | None = None
    calibration_sha256: str | None = None

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
            raise ModelError(f"{path} cannot be used ({error}): {_FIX_FOLDER}") from error
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA:
            raise ModelError(f"{path} has schema {schema!r}, this lrface reads {SCHEMA}: update lrface or the models")
        try:
            entries = [_entry(item) for item in data["models"] if item["kind"] in _KINDS]
            embedders = _by_level([entry for entry in entries if isinstance(entry, EmbedderEntry)])
            ranges = width_ranges({level: bounds_of(entry.serves) for level, entry in embedders.items()})
            enrolment = _enrolment_level(list(embedders.values()))
            sha256 = None if data.get("calibration") is None else _calibration_hash(data["calibration"])
        except (KeyError, TypeError, ValueError) as error:
            what = f"no {error}" if isinstance(error, KeyError) else str(error)
            raise ModelError(f"{path} is malformed ({what}): {_FIX_FOLDER}") from error
        detectors = tuple(entry for entry in entries if isinstance(entry, DetectorEntry))
        landmarkers = tuple(entry for entry in entries if isinstance(entry, LandmarkerEntry))
        return cls(where, embedders, detectors, landmarkers, ranges, enrolment, sha256)

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


_KINDS: dict[str, type[ModelEntry]] = {
    "embedder": EmbedderEntry,
    "detector": DetectorEntry,
    "landmarker": LandmarkerEntry,
}
"""What is of another kind, of a later lrface, is passed over."""


def _entry(item: Mapping[str, Any]) -> ModelEntry:
    """An entry of the manifest; the values of its `output` become attributes of the entry itself."""
    outputs = dict(item["output"])
    if "name" in outputs:
        outputs["output"] = outputs.pop("name")
    try:
        return msgspec.convert({**item, **outputs}, _KINDS[item["kind"]])
    except ValueError as error:
        raise ValueError(f"{str(item.get('name'))[:100]}: {error}") from error


def _calibration_hash(item: Mapping[str, Any]) -> str:
    return msgspec.convert(item["sha256"], Sha256)


def _by_level(entries: list[EmbedderEntry]) -> dict[int, EmbedderEntry]:
    """Rising."""
    found: dict[int, EmbedderEntry] = {}
    for entry in sorted(entries, key=lambda entry: entry.level):
        if entry.level in found:
            raise ValueError(f"two embedders at level {entry.level}")
        found[entry.level] = entry
    return found


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
