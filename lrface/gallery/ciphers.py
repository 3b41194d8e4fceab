"""What of a gallery is encrypted on the disk: nothing, or names, details, templates and crops.

AES-256-GCM (package `cryptography`, extra `encrypted`). The key of 32 bytes is never stored; two keys are derived from
it, one that encrypts and one for the keyed hashes by which names and photos are found.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Protocol

from lrface.errors import GalleryError

KEY_BYTES = 32
_NONCE, _TAG = 12, 16
_CHECK = b"lrface gallery"


class WrongKey(GalleryError):
    """A gallery cannot be read with this key, or it needs one."""


class Cipher(Protocol):
    """How values are stored."""

    @property
    def encrypts(self) -> bool:
        """Whether anything is encrypted."""

    def lookup(self, text: str) -> str:
        """By which a name or a photo's hash is found: itself, or a keyed hash of it."""

    def seal(self, value: bytes) -> bytes:
        """A value as stored; an empty one stays empty."""

    def sealed_size(self, size: int) -> int:
        """How many bytes are stored of a value of so many, at least one."""

    def unseal(self, value: bytes) -> bytes:
        """A value from what is stored.

        Raises:
            WrongKey: It was encrypted with another key.
        """


class Plain:
    """Nothing is encrypted."""

    encrypts = False

    def lookup(self, text: str) -> str:
        """The text itself."""
        return text

    def seal(self, value: bytes) -> bytes:
        """The value itself."""
        return value

    def sealed_size(self, size: int) -> int:
        """As many."""
        return size

    def unseal(self, value: bytes) -> bytes:
        """The value itself."""
        return value


class Aes:
    """AES-256-GCM with a nonce of its own for each value.

    Raises:
        GalleryError: The key has not 32 bytes, or `cryptography` is not installed.
    """

    encrypts = True

    def __init__(self, key: bytes) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise GalleryError("an encrypted gallery needs cryptography: pip install 'lrface[encrypted]'") from error
        if len(key) != KEY_BYTES:
            raise WrongKey(
                f"a key has {KEY_BYTES} bytes, not {len(key)}: make one with `openssl rand -hex {KEY_BYTES}`"
            )
        self._invalid = InvalidTag
        self._aes = AESGCM(hmac.digest(key, b"encrypt", hashlib.sha256))
        self._lookup = hmac.digest(key, b"lookup", hashlib.sha256)

    def lookup(self, text: str) -> str:
        """A keyed hash: who has the file but not the key cannot try names."""
        return hmac.digest(self._lookup, text.encode(), hashlib.sha256).hex()

    def seal(self, value: bytes) -> bytes:
        """Nonce and encrypted value."""
        if not value:
            return value
        nonce = os.urandom(_NONCE)
        return nonce + bytes(self._aes.encrypt(nonce, value, None))

    def sealed_size(self, size: int) -> int:
        """With nonce and tag."""
        return _NONCE + size + _TAG

    def unseal(self, value: bytes) -> bytes:
        """The value; what was altered is noticed."""
        if not value:
            return value
        try:
            return bytes(self._aes.decrypt(value[:_NONCE], value[_NONCE:], None))
        except (self._invalid, ValueError) as error:
            raise WrongKey("the gallery was encrypted with another key: give the right one") from error

    def proof(self) -> str:
        """By which `check` recognises the key."""
        return self.seal(_CHECK).hex()

    def check(self, proof: str) -> None:
        """Compares the key with the one that made `proof`.

        Raises:
            WrongKey: It is another one.
        """
        try:
            stored = bytes.fromhex(proof)
        except ValueError as error:
            raise WrongKey("the gallery's proof of its key is damaged: restore a copy") from error
        if self.unseal(stored) != _CHECK:
            raise WrongKey("the gallery was encrypted with another key: give the right one")
