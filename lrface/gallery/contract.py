"""The contract between a gallery and the models whose templates it holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from lrface.errors import ContractError, GalleryError, ModelError
from lrface.models.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Contract:
    """What must agree before two embeddings may be compared.

    Attributes:
        space: Name of the embedding space.
        dim: Length of an embedding.
        normalized: Whether embeddings have unit length.
        template: Name of the canonical crop.
        models: By level (as text, for JSON): name, SHA-256, channels, mean and scale of the embedder.
    """

    space: str
    dim: int
    normalized: bool
    template: str
    models: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, manifest: Manifest) -> Contract:
        """The contract of a manifest's embedders.

        Raises:
            ModelError: There is none, or they do not share one space.
        """
        entries = list(manifest.embedders.values())
        kinds = {(e.space, e.dim, e.template) for e in entries}
        if len(kinds) != 1:
            raise ModelError(f"the embedders in {manifest.folder} do not share one space: use one set of models")
        space, dim, template = kinds.pop()
        models = {
            str(e.level): {
                "name": e.name,
                "sha256": e.sha256.lower(),
                "channels": e.input.channels,
                "mean": e.input.mean,
                "scale": e.input.scale,
            }
            for e in entries
        }
        return cls(space, dim, True, template, models)

    @property
    def levels(self) -> tuple[int, ...]:
        """Rising."""
        return tuple(sorted(int(level) for level in self.models))

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
            contract = cls(**json.loads(text))
            entries = all(isinstance(m, dict) for m in contract.models.values())
            if not (isinstance(contract.dim, int) and 0 < contract.dim <= 65536 and contract.levels and entries):
                raise ValueError("no dimension or no level")
            return contract
        except (ValueError, TypeError, AttributeError) as error:
            raise GalleryError(f"the gallery's contract is damaged ({error}): restore a copy or enrol anew") from error

    def require(self, other: Contract, where: str) -> None:
        """Refuses models other than those of this contract.

        Raises:
            ContractError: `other`, the loaded models', is different.
        """
        if self == other:
            return
        differs = [key for key in asdict(self) if getattr(self, key) != getattr(other, key)]
        names = ", ".join(f"{m.get('name')} {str(m.get('sha256'))[:12]}…" for m in self.models.values())
        raise ContractError(
            f"{where} was made with other models ({names}; {', '.join(differs)} differ): enrol the people again in "
            "a new gallery, or open it with the models it was made with"
        )
