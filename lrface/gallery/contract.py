"""The contract between a gallery and the models whose templates it holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from lrface.errors import ContractError, GalleryError
from lrface.models.manifest import Manifest

_MAX_DIM = 8192  # memory for the index is people x levels x dim, also for a gallery from elsewhere
_OTHER_MODEL = "made by another model"
_WAY = "run `lrface gallery upgrade` with the photos of enrolment, or enrol them again in a new gallery"


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
            found = msgspec.to_builtins(msgspec.json.decode(text, type=_Record))
            texts = [found["space"], found["template"], *(v for m in found["models"].values() for v in m.values())]
            if not all(str(value).isprintable() for value in texts):
                raise ValueError("a text holds characters that are not drawn")
            return cls(**found)
        except (ValueError, RecursionError) as error:
            raise GalleryError(
                f"the gallery's contract is damaged ({str(error)[:200]}): restore a copy, or enrol the photos again in "
                "a new gallery"
            ) from error

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


_Text = Annotated[str, Meta(min_length=1, max_length=200)]
_Level = Annotated[str, Meta(pattern="^[1-9][0-9]{0,4}$")]
_Finite = Annotated[float, Meta(gt=-1e9, lt=1e9)]


class _Model(msgspec.Struct, omit_defaults=True, forbid_unknown_fields=True):
    name: _Text
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    channels: _Text | None = None
    mean: _Finite | None = None
    scale: _Finite | None = None


class _Record(msgspec.Struct, forbid_unknown_fields=True):
    """What `to_json` writes."""

    space: _Text
    dim: Annotated[int, Meta(ge=1, le=_MAX_DIM)]
    normalized: bool
    template: _Text
    models: Annotated[dict[_Level, _Model], Meta(min_length=1, max_length=16)]
