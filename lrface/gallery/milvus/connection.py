"""The connection to Milvus: collections made and recognised, calls that end in time, errors that say what to do.

Two collections make a gallery. One holds a row for each person (the template that is searched), each photo, each
negative example, and one for the gallery's state; all that one change touches is written in one request, which Milvus
applies as a whole. The other one, of the same name with `__notes`, holds what changes beside: the audit log, photos
that were refused, and who is about to write.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from lrface.errors import GalleryError, GalleryInUseError, GalleryServerError
from lrface.gallery.contract import Contract
from lrface.gallery.milvus.address import TOKEN, Address

CALL_S = 10.0  # that one call may take
LONG_S = 60.0  # that one which makes, loads or compacts a collection may take
MOST = 16384  # rows that Milvus gives at once
FORMAT = "1"
_FORMAT, _CONTRACT = "lrface.format", "lrface.contract"
_PAGE = 1000  # rows that are read at once
_LOOKED_FOR = ("person", "lookup", "photos", "number")
_TEXT = 65535  # bytes that a field of text holds
_NO_COLLECTION, _NOT_LOADED = 100, 101
_LATE, _REFUSED, _UNAVAILABLE, _GONE = "late", "refused", "unavailable", "gone"
_PAUSE_S = 0.2  # before a call is repeated
# pymilvus asks an idle server every 10 s whether it is there; many end the connection of one who asks so often.
_CHANNEL = {"grpc.keepalive_time_ms": 60_000, "grpc.keepalive_permit_without_calls": False}

Row = dict[str, Any]
_T = TypeVar("_T")


class Connection:
    """A connection to the collections of one gallery. Thread-safe; it comes back by itself after a server did.

    Attributes:
        address: Of the gallery.
    """

    def __init__(self, address: Address) -> None:
        try:
            import grpc
            from pymilvus import MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError as error:
            raise GalleryError("a gallery in Milvus needs pymilvus: pip install 'lrface[milvus]'") from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it logs what it also raises, with a traceback
        self.address = address
        self._failures = (MilvusException, grpc.RpcError, ConnectionError)
        self._client: Any = None
        self._closed = False
        with self._errors():
            self._client = self._twice(
                lambda: MilvusClient(uri=address.uri, token=address.token, timeout=CALL_S, grpc_options=_CHANNEL)
            )

    def close(self) -> None:
        """Ends the connection."""
        self._closed, client, self._client = True, self._client, None
        if client is not None:
            client.close()

    def contract(self) -> Contract | None:
        """The models of the templates in the collection; None where there is no collection.

        Raises:
            GalleryError: The collection is not a gallery, or of a newer lrface.
        """
        name = self.address.collection
        if not self._call("has_collection", name):
            return None
        properties: Mapping[str, Any] = self._call("describe_collection", name).get("properties", {})
        text = properties.get(_CONTRACT)
        if not isinstance(text, str):
            raise GalleryError(f"the collection {self.address} is not a gallery of lrface: choose another name")
        if properties.get(_FORMAT) != FORMAT:
            raise GalleryError(f"gallery {self.address}: a newer lrface made it: update lrface")
        return Contract.from_json(text)

    def create(self, contract: Contract) -> Contract:
        """Makes the collections; another process may be faster. Returns the contract of those that are there then."""
        from pymilvus import DataType as Kind

        texts = {"person": 36, "name": 1000, "lookup": 64, "checksum": 32, "until": 10, "text": _TEXT, "blob": _TEXT}
        fields: list[Row] = [
            {"field_name": name, "datatype": Kind.VARCHAR, "max_length": n} for name, n in texts.items()
        ]
        fields += [{"field_name": name, "datatype": Kind.INT64} for name in ("row", "photos", "negatives")]
        fields.append({"field_name": "length", "datatype": Kind.FLOAT})
        groups = {"element_type": Kind.VARCHAR, "max_capacity": 1000, "max_length": 16}
        fields.append({"field_name": "groups", "datatype": Kind.ARRAY, **groups})
        notes: list[Row] = [
            {"field_name": "judge", "datatype": Kind.VARCHAR, "max_length": 64},
            {"field_name": "number", "datatype": Kind.INT64},
            {"field_name": "text", "datatype": Kind.VARCHAR, "max_length": _TEXT},
        ]
        properties = {_FORMAT: FORMAT, _CONTRACT: contract.to_json()}
        self._create(self.address.notes, notes, 2, {_FORMAT: FORMAT})
        self._create(self.address.collection, fields, contract.dim, properties)
        found = self.contract()
        if found is None:
            raise GalleryError(f"gallery {self.address}: its collection was dropped while it was made: try again")
        return found

    def _create(self, name: str, fields: Sequence[Row], dim: int, properties: Mapping[str, str]) -> None:
        from pymilvus import DataType as Kind
        from pymilvus import MilvusClient

        if self._call("has_collection", name):
            return
        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", Kind.VARCHAR, max_length=100, is_primary=True)
        schema.add_field("kind", Kind.VARCHAR, max_length=10)
        for each in fields:
            schema.add_field(**each)
        schema.add_field("vector", Kind.FLOAT_VECTOR, dim=dim)
        index = MilvusClient.prepare_index_params()
        index.add_index("vector", index_type="FLAT", metric_type="IP")  # of unit vectors: the cosine
        for each in ("kind", *(field["field_name"] for field in fields if field["field_name"] in _LOOKED_FOR)):
            index.add_index(each, index_type="INVERTED")
        more: Row = {"consistency_level": "Strong", "properties": properties, "num_shards": 1}
        try:
            self._call("create_collection", name, schema=schema, index_params=index, timeout=LONG_S, **more)
        except GalleryError:
            if not self._call("has_collection", name):  # else another process was faster
                raise

    def load(self) -> None:
        """Has the server bring the collections into its memory, where they are not."""
        for name in (self.address.notes, self.address.collection):
            self._call("load_collection", name, timeout=LONG_S)

    def query(self, where: str, fields: Sequence[str], notes: bool = False) -> list[Row]:
        """The rows of this moment for which an expression holds: at most `MOST`.

        Args:
            where: Milvus's expression; names of people and groups are never part of one.
            fields: Which are given.
            notes: Whether of the second collection.
        """
        name = self.address.notes if notes else self.address.collection
        found = self._call("query", name, filter=where, output_fields=list(fields), consistency_level="Strong")
        return [dict(row) for row in found]

    def count(self, where: str) -> int:
        """How many rows there are for which an expression holds."""
        return int(self.query(where, ["count(*)"])[0]["count(*)"])

    def all(self, where: str, fields: Sequence[str]) -> Iterator[list[Row]]:
        """The rows for which an expression holds, however many, in parts and in no order."""
        wanted: Row = {"filter": where, "output_fields": list(fields), "consistency_level": "Strong"}
        rows = self._call("query_iterator", self.address.collection, batch_size=_PAGE, **wanted)
        try:
            while True:
                with self._errors():
                    found = [dict(row) for row in rows.next()]
                if not found:
                    return
                yield found
        finally:
            rows.close()

    def search(
        self, where: str, vectors: Sequence[Any], most: int, fields: Sequence[str], above: float | None = None
    ) -> list[list[Row]]:
        """For each vector the closest rows, at most so many; only those of a larger product than `above`."""
        parameters: Row = {"metric_type": "IP"}
        if above is not None:
            parameters["params"] = {"radius": above, "range_filter": 2.0}
        found = self._call(
            "search",
            self.address.collection,
            data=[vector.tolist() for vector in vectors],
            anns_field="vector",
            filter=where,
            limit=min(most, MOST),
            output_fields=list(fields),
            search_params=parameters,
            consistency_level="Strong",
        )
        return [[dict(hit["entity"]) for hit in hits] for hits in found]

    def put(self, rows: Sequence[Row], notes: bool = False) -> None:
        """Writes rows, over those of the same keys, in one request."""
        self._call("upsert", self.address.notes if notes else self.address.collection, list(rows))

    def commit(self, rows: Sequence[Row]) -> None:
        """As `put`, in twice `CALL_S` at most, so that it ends while nobody else can have the turn.

        Raises:
            GalleryError: As any; it says so where it is not known whether the rows are written.
        """
        try:
            self._call("upsert", self.address.collection, list(rows), again=False)
        except GalleryError as error:
            why = set() if error.__cause__ is None else _reasons(error.__cause__)
            if why & {_REFUSED, _GONE} and not why & {_LATE, _UNAVAILABLE}:  # nothing is written
                raise
            raise type(error)(f"{error}; whether this change is stored is not known: look, then repeat it") from error

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Deletes the rows of these keys."""
        self._call("delete", self.address.collection, ids=list(keys))

    def delete(self, where: str, notes: bool = False) -> None:
        """Deletes the rows for which an expression holds."""
        self._call("delete", self.address.notes if notes else self.address.collection, filter=where)

    def flush(self) -> None:
        """Has the server write all rows into files of which it makes an index."""
        for name in (self.address.collection, self.address.notes):
            self._call("flush", name, timeout=LONG_S)

    def compact(self) -> None:
        """Has the server rewrite what holds deleted rows."""
        self.flush()
        for name in (self.address.collection, self.address.notes):
            self._call("compact", name, timeout=LONG_S)

    def _call(
        self, what: str, name: str, *values: Any, timeout: float = CALL_S, again: bool = True, **more: Any
    ) -> Any:
        def once() -> Any:
            if self._closed:
                raise self._closed_error()
            return getattr(self._client, what)(name, *values, timeout=timeout, **more)

        with self._errors():
            try:
                return self._twice(once) if again else once()
            except self._failures as error:
                if not again or getattr(error, "code", None) != _NOT_LOADED:
                    raise
                if what in ("load_collection", "has_collection"):
                    raise
            self._client.load_collection(name, timeout=LONG_S)  # the server was started anew, or somebody released it
            return once()

    def _twice(self, call: Callable[[], _T]) -> _T:
        """Calls it again after a broken connection: to write the same rows twice is to write them once."""
        try:
            return call()
        except self._failures as error:
            if _reasons(error) & {_UNAVAILABLE, _LATE} != {_UNAVAILABLE}:
                raise
        time.sleep(_PAUSE_S)
        return call()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turns what pymilvus and gRPC raise into GalleryErrors that say what to do."""
        try:
            yield
        except GalleryError:
            raise
        except self._failures as error:
            raise self._error(error) from error
        except (TypeError, ValueError, AttributeError) as error:  # pymilvus's own checks, and an answer of another kind
            if self._closed:  # meanwhile, by another thread
                raise self._closed_error() from error
            raise GalleryError(
                f"gallery {self.address}: {_short(error)}: is this a Milvus server of 2.5 or later?"
            ) from error

    def _closed_error(self) -> GalleryError:
        return GalleryError(f"gallery {self.address}: it was closed, open it again")

    def _error(self, error: Exception) -> GalleryError:
        where, said, reasons = f"gallery {self.address}", _short(error), _reasons(error)
        if _LATE in reasons:
            return GalleryInUseError(
                f"{where}: the server did not answer in time: check it, and what was stored, then try again"
            )
        if _REFUSED in reasons:
            return GalleryError(
                f"{where}: the server refuses this user: give user and password in the URL, or a token in {TOKEN}"
            )
        if _UNAVAILABLE in reasons:
            return GalleryServerError(
                f"{where}: no connection to the server: check that it runs, host and port, and whether it wants TLS"
            )
        if _GONE in reasons:
            return GalleryError(f"{where}: the collection is not there any more: enrol again, or restore a backup")
        return GalleryServerError(f"{where}: the server said: {said}: check the server")


def _reasons(error: BaseException) -> set[str]:
    """What kind of failure it is, by its code, else by its words: pymilvus has one code for many."""
    code = getattr(error, "code", None)
    code = code() if callable(code) else code
    if code == _NO_COLLECTION:  # whose name, which is told, may hold one of the words below
        return {_GONE}
    name, said = str(getattr(code, "name", "")), _short(error).lower()
    words = {
        _LATE: name == "DEADLINE_EXCEEDED" or "timeout" in said or "deadline" in said,
        _REFUSED: name in ("UNAUTHENTICATED", "PERMISSION_DENIED") or "auth" in said or "permission" in said,
        _UNAVAILABLE: name == "UNAVAILABLE" or "connect" in said or "unavailable" in said,
        _GONE: "not exist" in said or "not found" in said,
    }
    return {reason for reason, holds in words.items() if holds}


def _short(error: BaseException) -> str:
    text = str(getattr(error, "message", "") or error)
    return " ".join(text.split())[:300]
