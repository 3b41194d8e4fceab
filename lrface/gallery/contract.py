"""The contract between a gallery and the models whose templates it holds."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from lrface.errors import ContractError, GalleryError
from lrface.models.manifest import Manifest

_MAX_DIM = 8192  # memory for the index is people x levels x dim, also for a gallery from elsewhere
_MAX_LEVELS = 16
_OTHER_MODEL = "made by another model"
_WAY = "run `lrface gallery upgrade` with the photos of enrolment, or enrol them again in a new gallery"
_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Contract:
    """What must agree before two embeddings may be compared.

    Attributes:
        space: Name of the embedding space.
        dim: Length of an embedding.
        normalized: Whether embeddings have unit length.
        template: Name of the canonical crop.
        models: The network that made the templates, by its level (as text, for JSON): name, SHA-256, channels, mean
            and scale. Galleries of earlier versions hold several.
    """

    space: str
    dim: int
    normalized: bool
    template: str
    models: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, manifest: Manifest) -> Contract:
        """The contract of a manifest's network of enrolment.

        Raises:
            ModelError: There is none.
        """
        e = manifest.enrolment
        model = {
            "name": e.name,
            "sha256": e.sha256.lower(),
            "channels": e.input.channels,
            "mean": e.input.mean,
            "scale": e.input.scale,
        }
        return cls(e.space, e.dim, True, e.template, {str(e.level): model})

    @property
    def levels(self) -> tuple[int, ...]:
        """Rising."""
        return tuple(sorted(int(level) for level in self.models))

    @property
    def level(self) -> int:
        """Side in pixels of the input of the network that made the templates.

        Raises:
            ContractError: Several networks did, in an earlier version.
        """
        if len(self.models) != 1:
            raise ContractError(f"the gallery was {_OTHER_MODEL}: {_WAY}")
        return self.levels[0]

    def to_json(self) -> str:
        """One line, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Reads what `to_json` wrote.

        Raises:
            GalleryError: It is something else.
        """
        try:
            found = json.loads(text, parse_constant=_refuse)
            if not isinstance(found, dict) or set(found) != set(cls.__slots__):
                raise ValueError("unknown or missing entries")
            contract = cls(**found)
            contract._check()
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise GalleryError(
                f"the gallery's contract is damaged ({type(error).__name__}: {str(error)[:200]}): restore a copy, or "
                "enrol the photos again in a new gallery"
            ) from error
        return contract

    def _check(self) -> None:
        if not (_is_text(self.space) and _is_text(self.template) and isinstance(self.normalized, bool)):
            raise ValueError("space, template or normalized is of a wrong type")
        if type(self.dim) is not int or not 0 < self.dim <= _MAX_DIM:
            raise ValueError(f"dim is not a number from 1 to {_MAX_DIM}")
        if not isinstance(self.models, dict) or not 0 < len(self.models) <= _MAX_LEVELS:
            raise ValueError("there is no model, or there are too many")
        for level, model in self.models.items():
            if not (level.isascii() and level.isdecimal() and len(level) <= 5 and int(level) > 0):
                raise ValueError("a level is not a number of pixels")
            if not isinstance(model, dict) or not all(_is_value(value) for value in model.values()):
                raise ValueError("a model's entry holds more than names and finite numbers")
            if not (_is_text(model.get("name")) and _SHA256.fullmatch(str(model.get("sha256")))):
                raise ValueError("a model has no name or no SHA-256")

    def require(self, other: Contract, where: str) -> None:
        """Refuses models other than those of this contract.

        Raises:
            ContractError: `other`, the loaded models', is different.
        """
        if self == other:
            return
        differs = [key for key in asdict(self) if getattr(self, key) != getattr(other, key)]
        names = ", ".join(f"{m.get('name')} {str(m.get('sha256'))[:12]}…" for m in self.models.values())
        raise ContractError(f"{where} was {_OTHER_MODEL} ({names}; {', '.join(differs)} differ): {_WAY}")


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number here")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable()


def _is_value(value: object) -> bool:
    return _is_text(value) or (isinstance(value, int | float) and math.isfinite(value) and abs(value) < 1e9)
