"""The index of shards: which shards there are, and a row a sample."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from zsrobust.utils.errors import RequestError

INDEX = "index.json"
SAMPLES = "samples.parquet"
SCHEMA = 1


@dataclass(frozen=True)
class Shard:
    """A tar file.

    Attributes:
        name, samples, bytes: its name, and how many samples and bytes it holds.
        sha256: in hex, empty where it is not known.
        version: where the hash is not known, what changes when the file does; in no index.
    """

    name: str
    samples: int
    bytes: int
    sha256: str = ""
    version: str = ""


@dataclass(frozen=True)
class Index:
    """What our writer puts next to shards as ``index.json``.

    Attributes:
        name, split, class_names, templates, native_size, origin: as of an ``ImageSet``.
        shards: in order.
        samples_sha256: of ``samples.parquet``.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    templates: tuple[str, ...]
    native_size: int | None
    origin: str
    shards: tuple[Shard, ...]
    samples_sha256: str

    def to_json(self) -> str:
        """The text of the file."""
        fields = {"schema": SCHEMA, **asdict(self)}
        for shard in fields["shards"]:
            del shard["version"]
        return json.dumps(fields, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, content: bytes, where: str) -> Index:
        """The index that ``content`` holds.

        Raises:
            RequestError: if it is none of ours.
        """
        try:
            fields = json.loads(content)
            if fields.pop("schema") != SCHEMA:
                raise ValueError("another schema")
            shards = tuple(Shard(**shard) for shard in fields.pop("shards"))
            names, templates = tuple(fields.pop("class_names")), tuple(fields.pop("templates"))
            index = cls(class_names=names, templates=templates, shards=shards, **fields)
            index._check()
            return index
        except (ValueError, TypeError, KeyError, AttributeError) as reason:
            raise RequestError(
                f"{where} is no index of shards ({reason}): write it with zsrobust data shard, or "
                "remove it"
            ) from None

    def _check(self) -> None:
        """An index may come from anywhere: names must not lead elsewhere, nor hashes be paths."""
        if not (self.shards and self.class_names and all(map(_is_text, self.class_names))):
            raise ValueError("no shards or class names")
        if not _is_text(self.split) or plain(self.split) != self.split:
            raise ValueError(f"the split {self.split!r}")
        if not _is_text(self.name) or not isinstance(self.origin, str):
            raise ValueError(f"the name {self.name!r} or the origin {self.origin!r}")
        side = self.native_size
        if side is not None and (type(side) is not int or side < 1):
            raise ValueError(f"the native size {side!r}")
        if not all(_is_text(template) and "{}" in template for template in self.templates):
            raise ValueError(f"the templates {self.templates!r}")
        for shard in self.shards:
            if not _is_text(shard.name) or {"/", "\\"} & set(shard.name) or shard.name[0] == ".":
                raise ValueError(f"the shard's name {shard.name!r}")
            if not re.fullmatch("[0-9a-f]{64}", shard.sha256):
                raise ValueError(f"the SHA-256 of {shard.name}")
            if type(shard.bytes) is not int or shard.bytes < 0:
                raise ValueError(f"the bytes of {shard.name}")


def plain(split: str) -> str:
    """``split`` where it is fit to begin a file's name, else the nearest that is.

    A split may be any text, even a path, as it is written in a list of files from anywhere.
    """
    return re.sub(r"^\.|[^\w.-]", "_", split)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


@dataclass
class Rows:
    """Columns of equal length, a row a sample, in the order of the shards.

    Attributes:
        ids: of the samples.
        labels: as text: names where they come from foreign shards, else numbers.
        shard: number of the shard.
        offset, size: of the image's bytes in the shard.
    """

    ids: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    shard: list[int] = field(default_factory=list)
    offset: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)

    def to_parquet(self) -> bytes:
        """The file ``samples.parquet``."""
        found = io.BytesIO()
        pq.write_table(pa.table(vars(self)), found, compression="zstd")
        return found.getvalue()

    @classmethod
    def from_parquet(cls, content: bytes, index: Index, where: str) -> Rows:
        """The rows of ``samples.parquet``, which must be the one that ``index`` was written with.

        Raises:
            RequestError: if it is not.
        """
        if hashlib.sha256(content).hexdigest() != index.samples_sha256:
            raise RequestError(f"{where} is not the file that {INDEX} was written with: copy both")
        rows = cls.of_parquet(content)
        if not set(rows.shard) <= set(range(len(index.shards))):
            raise RequestError(f"{where} names shards that {INDEX} does not: write both anew")
        return rows

    @classmethod
    def of_parquet(cls, content: bytes) -> Rows:
        """The rows of a file that ``to_parquet`` wrote."""
        return cls(**pq.read_table(io.BytesIO(content)).to_pydict())


def joined(parts: Sequence[Rows]) -> Rows:
    """All rows, one part after the other."""
    columns = vars(Rows())
    return Rows(**{name: [v for part in parts for v in getattr(part, name)] for name in columns})
