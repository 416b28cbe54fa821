"""The live state on disk: plain `.npy` arrays and JSON, with the journal offset they cover.

Hours and sessions are stored as they were folded: a change of the time zone or of the session gap shows in full
from the next batch fold on.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from regulars.core.errors import StorageError
from regulars.profiles.segments import CutPoints

FORMAT = 1
MANIFEST = "manifest.json"
REMEDY = "Delete the folder: the next start folds the journal afresh."

Part = TypeVar("Part", bound=msgspec.Struct)


class Manifest(msgspec.Struct, frozen=True):
    """What a snapshot is, and what of it is small."""

    format: int
    offset: int
    rows: dict[str, int]  # length of each array
    cuts: CutPoints
    price_cuts: list[int]


def write(
    folder: Path, manifest: Manifest, arrays: dict[str, NDArray[Any]], parts: dict[str, msgspec.Struct]
) -> None:
    """Write a snapshot beside `folder` and put it in its place; a crash leaves the old one or the new one."""
    fresh, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        fresh.mkdir(parents=True)
        for name, array in arrays.items():
            np.save(fresh / f"{name}.npy", array, allow_pickle=False)
        for name, part in parts.items():
            (fresh / f"{name}.json").write_bytes(msgspec.json.encode(part))
        (fresh / MANIFEST).write_bytes(msgspec.json.encode(manifest))
        if folder.exists():
            folder.rename(old)
        fresh.rename(folder)
    except OSError as error:
        raise StorageError(str(folder), got=str(error), wanted="a folder that can be written") from error
    shutil.rmtree(old, ignore_errors=True)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a snapshot, of this format."""
    path = folder / MANIFEST
    try:
        head = msgspec.json.decode(path.read_bytes())
        if isinstance(head, dict) and head.get("format", FORMAT) != FORMAT:
            raise StorageError(str(path), got=f"format {head['format']}", wanted=f"format {FORMAT}", remedy=REMEDY)
        return msgspec.convert(head, Manifest)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(str(path), got=str(error), wanted="a snapshot of the live state", remedy=REMEDY) from error


def read_rows(folder: Path, manifest: Manifest, name: str, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """One array of a snapshot, of this type and of the length that the manifest says."""
    path = folder / f"{name}.npy"
    try:
        rows = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StorageError(str(path), got=str(error), wanted="a saved array", remedy=REMEDY) from error
    if rows.dtype.names != dtype.names or len(rows) != manifest.rows.get(name):
        raise StorageError(
            str(path), got=f"{len(rows)} rows of {rows.dtype.names}",
            wanted=f"{manifest.rows.get(name)} rows of {dtype.names}", remedy=REMEDY,
        )  # fmt: skip
    return np.asarray(rows.astype(dtype))


def read_part(folder: Path, name: str, form: type[Part]) -> Part:
    """One JSON file of a snapshot."""
    path = folder / f"{name}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=form)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(str(path), got=str(error), wanted=f"saved {name}", remedy=REMEDY) from error
