"""A file's bytes, read once: their hash, whether the voxels are sound, and a digest of the image."""

import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np

from crossmodal.cohort.background import remarks_on_background, require_finite
from crossmodal.cohort.headers import DOWNLOAD_AGAIN, Header
from crossmodal.cohort.problems import BadFileError


@dataclass(frozen=True)
class ImageFacts:
    """What was computed from one 3D image."""

    content: str  # digest of the intensities in RAS order: equal for a copy in another type, order or compression
    remarks: tuple[tuple[str, str], ...]  # (problem, remedy) of what deserves a warning


def read_voxels(path: Path, header: Header) -> tuple[np.ndarray, str]:
    """A file's voxels, scaled if its header says so, and the SHA-256 of its bytes.

    Raises:
        BadFileError: the file is truncated, fails gzip's checksum, or holds more than its header says.
    """
    try:
        data = path.read_bytes()
    except OSError as fault:
        raise BadFileError(f"cannot be read ({fault.strerror})", "check its permissions and the disk") from None
    digest = hashlib.sha256(data).hexdigest()
    if path.name.lower().endswith(".gz"):
        data = _unzip(data, header.bytes_in_all)
    if len(data) != header.bytes_in_all:
        how = "is truncated" if len(data) < header.bytes_in_all else "is longer than its header says"
        raise BadFileError(f"{how} ({len(data)} bytes unpacked, {header.bytes_in_all} expected)", DOWNLOAD_AGAIN)
    stored = np.frombuffer(data, header.dtype, offset=header.offset).reshape(header.shape, order="F")
    if (header.slope, header.intercept) == (1.0, 0.0):
        return stored, digest
    with np.errstate(all="ignore"):
        return stored * header.slope + header.intercept, digest


def _unzip(data: bytes, limit: int) -> bytes:
    """All members of a gzip file; it stops beyond `limit` bytes, so that a small file cannot fill the memory."""
    parts, unpacked = [], 0
    while data:
        reader = zlib.decompressobj(wbits=31)
        try:
            part = reader.decompress(data, limit + 1 - unpacked)
        except zlib.error as fault:
            raise BadFileError(f"is a damaged gzip file ({fault})", DOWNLOAD_AGAIN) from None
        parts.append(part)
        unpacked += len(part)
        if unpacked > limit:
            break
        if not reader.eof:
            raise BadFileError("is a truncated gzip file (it ends before its checksum)", DOWNLOAD_AGAIN)
        data = reader.unused_data.lstrip(b"\0")  # gzip allows padding with zeros
    return parts[0] if len(parts) == 1 else b"".join(parts)


def image_facts(voxels: np.ndarray, affine: np.ndarray) -> ImageFacts:
    """Facts of one modality's 3D image.

    Args:
        voxels: (x, y, z), any real type.
        affine: (4, 4), voxel indices to mm.

    Raises:
        BadFileError: see `remarks_on_background`.
    """
    remarks = remarks_on_background(voxels, abs(float(np.linalg.det(affine[:3, :3]))) / 1000)
    return ImageFacts(_content(voxels, affine), tuple(remarks))


def label_values(voxels: np.ndarray) -> frozenset[int]:
    """The label values of a segmentation, 0 included when it occurs.

    Raises:
        BadFileError: voxels that are not finite, or not whole numbers.
    """
    require_finite(voxels)
    drawn = voxels[voxels != 0]  # sort these alone: a tumour fills about 1% of the volume
    values = np.unique(drawn)
    broken = values[values != np.rint(values)]
    if broken.size:
        what = f"has labels that are not whole numbers ({', '.join(f'{value:g}' for value in broken[:3])})"
        raise BadFileError(what, "resample the segmentation with nearest neighbour, or use the original")
    return frozenset(int(value) for value in values) | ({0} if drawn.size < voxels.size else set())


def _content(voxels: np.ndarray, affine: np.ndarray) -> str:
    """Digest of the intensities in the nearest RAS order, as int16 where that loses nothing, else as float32."""
    voxels = nibabel.apply_orientation(voxels, nibabel.io_orientation(affine))
    with np.errstate(all="ignore"):
        narrow = voxels.astype("<i2", copy=False)
        if narrow is not voxels and not np.array_equal(narrow, voxels):
            narrow = voxels.astype("<f4") + np.float32(0)  # -0.0 becomes 0.0
    digest = hashlib.blake2b(repr((narrow.dtype.str, voxels.shape)).encode(), digest_size=20)
    digest.update(np.ascontiguousarray(narrow.T))
    return digest.hexdigest()
