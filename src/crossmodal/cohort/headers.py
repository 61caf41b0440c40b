"""A NIfTI-1 header, read strictly: what readers repair without a word, or read differently, is an error here.

nibabel and SimpleITK repair damaged headers each in its own way, so a damaged file would be read differently from
one step to the next. Field names and codes: nifti1.h (https://nifti.nimh.nih.gov/nifti-1).
"""

import io
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from nibabel.spatialimages import HeaderDataError

from crossmodal.cohort.problems import BadFileError

HEADER_BYTES = 352  # the 348 of the header and the 4 that announce extensions
SMALLEST_SIDE, LARGEST_SIDE, LARGEST_FILE = 4, 1024, 2**31  # voxels, voxels, bytes
GEOMETRY_TOLERANCE = 1e-3
# Of D·Dᵀ from the identity, D the sform's direction cosines: ITK refuses more than 1e-4 where there is no qform to
# take instead (NiftiImageIO::SetImageIOOrientationFromNIfTI). It computes in single precision, hence the margin.
ITK_SHEAR_TOLERANCE = 1e-4 - 1e-6
# Deflate cannot shrink anything more than about 1032-fold: a smaller file cannot hold its voxels.
LARGEST_GZIP_RATIO = 1040

DOWNLOAD_AGAIN = "download or copy the file again"
WRITE_AGAIN = "write the file again as NIfTI-1, for instance with nibabel or dcm2niix"
_SIZES_OF_HEADER = ((348).to_bytes(4, "little"), (348).to_bytes(4, "big"))
_REAL_TYPES = {
    code: np.dtype(name)
    for code, name in {
        2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1",
        512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
    }.items()
}  # fmt: skip


@dataclass(frozen=True)
class Header:
    """What is needed to read a file's voxels, and to compare it with its case's other files."""

    shape: tuple[int, ...]
    dtype: np.dtype  # as stored, byte order included
    affine: np.ndarray  # (4, 4), voxel indices to mm
    offset: int  # bytes before the first voxel
    slope: float
    intercept: float
    remarks: tuple[tuple[str, str], ...] = ()  # (problem, remedy) of what deserves a warning

    @property
    def bytes_in_all(self) -> int:
        """Size of the file, unpacked."""
        return self.offset + int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def read_header(path: Path) -> Header:
    """The header of a `.nii` or `.nii.gz` file, from its first bytes.

    Raises:
        BadFileError: the file is missing, not NIfTI-1, truncated, or its header contradicts itself.
    """
    size = _regular_size(path)
    zipped = path.name.lower().endswith(".gz")
    head = _first_bytes(path, HEADER_BYTES, zipped)
    raw = _parse(head)
    shape = _shape(raw)
    dtype = _dtype(raw)
    offset = _offset(raw)
    affine, remarks = _geometry(raw)
    slope, intercept, scaling = _scaling(raw)
    header = Header(shape, dtype, affine, offset, slope, intercept, (*remarks, *scaling))
    _size_fits(header, size, zipped)
    _readable_by_nibabel(head if offset == HEADER_BYTES else _first_bytes(path, offset, zipped))
    return header


def _regular_size(path: Path) -> int:
    try:
        status = path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            raise BadFileError(
                f"is a link to {path.readlink()}, which is missing",
                "restore the file it points at (`dvc pull` where the data are under DVC)",
            ) from None
        raise BadFileError("is missing", "restore the file, or take the case out of the cohort") from None
    except OSError as fault:
        raise BadFileError(f"cannot be opened ({fault.strerror})", "check the path and its permissions") from None
    if stat.S_ISDIR(status.st_mode):
        raise BadFileError("is a folder where a NIfTI file is expected", "put the file itself at this path")
    if not stat.S_ISREG(status.st_mode):
        raise BadFileError("is not a regular file (a pipe, socket or device)", "put a NIfTI file at this path")
    if status.st_size == 0:
        raise BadFileError("is empty (0 bytes)", DOWNLOAD_AGAIN)
    return status.st_size


def _first_bytes(path: Path, count: int, zipped: bool) -> bytes:
    try:
        with path.open("rb") as stream:
            start = stream.read(count if not zipped else count + 65536)
    except OSError as fault:
        raise BadFileError(f"cannot be read ({fault.strerror})", "check its permissions and the disk") from None
    is_gzip = start[:2] == b"\x1f\x8b"
    if zipped and not is_gzip:
        if start[:4] in _SIZES_OF_HEADER:
            raise BadFileError("is named .gz and is not compressed", "rename it to .nii, or compress it with gzip")
        raise BadFileError("is not a gzip file", DOWNLOAD_AGAIN)
    if is_gzip and not zipped:
        raise BadFileError("is gzip-compressed and is not named .gz", "rename it to .nii.gz, or unpack it with gunzip")
    if zipped:
        try:
            start = zlib.decompressobj(wbits=31).decompress(start, count)
        except zlib.error as fault:
            raise BadFileError(f"is a damaged gzip file ({fault})", DOWNLOAD_AGAIN) from None
    if len(start) < count:
        if len(start) >= 4 and start[:4] not in _SIZES_OF_HEADER:
            raise BadFileError("is not a NIfTI file", WRITE_AGAIN)
        raise BadFileError(f"is truncated within its header ({len(start)} of {count} bytes)", DOWNLOAD_AGAIN)
    return start[:count]


def _parse(head: bytes) -> nibabel.Nifti1Header:
    size = head[:4]
    if size not in _SIZES_OF_HEADER:
        if size in ((540).to_bytes(4, "little"), (540).to_bytes(4, "big")):
            raise BadFileError("is NIfTI-2, which not every reader takes", WRITE_AGAIN)
        if head[128:132] == b"DICM":
            raise BadFileError("is DICOM, not NIfTI", "convert the series with dcm2niix")
        raise BadFileError("is not a NIfTI file (its first four bytes are not the header's size)", WRITE_AGAIN)
    magic = head[344:348]
    if magic == b"ni1\0":
        raise BadFileError("is the header of a .hdr/.img pair", WRITE_AGAIN)
    if magic != b"n+1\0":
        raise BadFileError(f"is not a NIfTI-1 file (its magic is {magic!r} instead of b'n+1\\x00')", WRITE_AGAIN)
    return nibabel.Nifti1Header(head[:348], endianness="<" if size == _SIZES_OF_HEADER[0] else ">", check=False)


def _shape(raw: nibabel.Nifti1Header) -> tuple[int, ...]:
    dim = [int(value) for value in raw["dim"]]
    if not 1 <= dim[0] <= 7:
        raise BadFileError(f"has a damaged header ({dim[0]} dimensions)", DOWNLOAD_AGAIN)
    shape = tuple(dim[1 : dim[0] + 1])
    named = "×".join(map(str, shape))
    if min(shape) < 1:
        raise BadFileError(f"has a damaged header (dimensions {named})", DOWNLOAD_AGAIN)
    if len(shape) < 3:
        raise BadFileError(
            f"is {len(shape)}D ({named}) where 3D is expected", "export the whole volume, not a slice of it"
        )
    if min(shape[:3]) < SMALLEST_SIDE or max(shape[:3]) > LARGEST_SIDE or max(shape[3:], default=1) > LARGEST_SIDE:
        raise BadFileError(
            f"has impossible dimensions ({named}): a side has {SMALLEST_SIDE} to {LARGEST_SIDE} voxels",
            "export the whole volume, resampled to about 1 mm",
        )
    return shape


def _dtype(raw: nibabel.Nifti1Header) -> np.dtype:
    code, bits = int(raw["datatype"]), int(raw["bitpix"])
    if code not in _REAL_TYPES:
        known = nibabel.nifti1.data_type_codes.label.get(code, f"code {code}")
        raise BadFileError(f"has voxels of type {known}, where integers or real numbers are expected", WRITE_AGAIN)
    dtype = _REAL_TYPES[code]
    if bits != dtype.itemsize * 8:
        raise BadFileError(f"has a damaged header ({bits} bits a voxel for type {dtype.name})", DOWNLOAD_AGAIN)
    return dtype.newbyteorder(raw.endianness)


def _offset(raw: nibabel.Nifti1Header) -> int:
    offset = float(raw["vox_offset"])
    if not HEADER_BYTES <= offset <= HEADER_BYTES + 2**24 or offset != int(offset):
        raise BadFileError(f"has a damaged header (voxels are said to start at byte {offset:g})", DOWNLOAD_AGAIN)
    return int(offset)


def _geometry(raw: nibabel.Nifti1Header) -> tuple[np.ndarray, list[tuple[str, str]]]:
    if raw["pixdim"][0] == 0:  # the standard lets it stand for 1
        raw["pixdim"][0] = 1
    sides = np.asarray(raw["pixdim"][1:4], dtype=float)
    if not np.all(np.isfinite(sides)) or np.any(sides < 0.01) or np.any(sides > 100):
        raise BadFileError(f"has impossible voxel sizes ({' × '.join(f'{s:g}' for s in sides)} mm)", WRITE_AGAIN)
    units = int(raw["xyzt_units"]) & 7
    if units not in (0, 2):  # 0 unknown, 2 mm
        raise BadFileError(f"gives its voxel sizes in a unit that is not mm (code {units})", WRITE_AGAIN)
    codes = {"sform": int(raw["sform_code"]), "qform": int(raw["qform_code"])}
    for name, code in codes.items():
        if not 0 <= code <= 5:
            raise BadFileError(f"has a damaged header ({name} code {code})", DOWNLOAD_AGAIN)
    try:
        with np.errstate(all="ignore"):
            qform = raw.get_qform(coded=False) if codes["qform"] else None
            affine = np.asarray(raw.get_best_affine(), dtype=float)
    except (HeaderDataError, ValueError, ArithmeticError) as fault:
        raise BadFileError(f"has a damaged orientation ({fault})", WRITE_AGAIN) from None
    if not np.all(np.isfinite(affine)) or np.abs(affine[:3, 3]).max() > 1e5:
        raise BadFileError(
            "has a damaged orientation (its affine is not finite, or its origin is far away)", WRITE_AGAIN
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if np.any(np.abs(spacing - sides) > GEOMETRY_TOLERANCE * sides):
        raise BadFileError("has voxel sizes that contradict its affine", WRITE_AGAIN)
    directions = affine[:3, :3] / spacing
    shear = np.abs(directions @ directions.T - np.eye(3)).max()
    if shear > (GEOMETRY_TOLERANCE if codes["qform"] else ITK_SHEAR_TOLERANCE):
        raise BadFileError(
            f"has a sheared affine, which SimpleITK does not support (axes not at right angles, by {shear:.1e})",
            "resample it, with all files of its case, to a grid whose axes are at right angles",
        )
    return affine, _orientation_remarks(codes, affine, qform)


def _orientation_remarks(codes: dict[str, int], affine: np.ndarray, qform) -> list[tuple[str, str]]:
    if not any(codes.values()):
        return [("has no orientation (sform and qform unset)", "check left and right before you trust a figure")]
    if codes["sform"] and qform is not None:
        apart = np.abs(affine - qform).max() if np.all(np.isfinite(qform)) else np.inf
        if apart > 1e-2:
            return [("has an sform and a qform that disagree, so readers place it differently", WRITE_AGAIN)]
    return []


def _scaling(raw: nibabel.Nifti1Header) -> tuple[float, float, list[tuple[str, str]]]:
    slope, intercept = float(raw["scl_slope"]), float(raw["scl_inter"])
    if slope == 0 or (np.isnan(slope) and (np.isnan(intercept) or intercept == 0)):
        return 1.0, 0.0, []  # how the standard and nibabel write "no scaling"
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise BadFileError(f"has a damaged intensity scaling (slope {slope}, intercept {intercept})", WRITE_AGAIN)
    if (slope, intercept) == (1.0, 0.0):
        return slope, intercept, []
    remark = f"has intensities scaled by its header (slope {slope:g}, intercept {intercept:g})"
    return slope, intercept, [(remark, "nothing to do if the scanner or converter meant it")]


def _size_fits(header: Header, size: int, zipped: bool) -> None:
    due = header.bytes_in_all
    if due > LARGEST_FILE:
        raise BadFileError(f"claims {due / 2**30:.1f} GiB of voxels", "check the header's dimensions and type")
    if not zipped and size != due:
        how = "is truncated" if size < due else "is longer than its header says"
        raise BadFileError(f"{how} ({size} bytes, {due} expected)", DOWNLOAD_AGAIN)
    if zipped and size * LARGEST_GZIP_RATIO < due:
        raise BadFileError(f"is truncated ({size} bytes cannot hold its {due} bytes of voxels)", DOWNLOAD_AGAIN)
    if zipped and size > 2 * due + 2**20:
        raise BadFileError(f"is longer than its header says ({size} bytes for {due})", DOWNLOAD_AGAIN)


def _readable_by_nibabel(head: bytes) -> None:
    try:
        nibabel.Nifti1Header.from_fileobj(io.BytesIO(head), check=False)
    except Exception as fault:  # later steps would raise the same
        raise BadFileError(f"has a damaged header extension ({fault})", WRITE_AGAIN) from None
