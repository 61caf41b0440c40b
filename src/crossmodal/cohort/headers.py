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
from nibabel.nifti1 import data_type_codes
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
    head = _first_bytes(path, HEADER_BYTES)
    raw = _parse(head)
    shape = _shape(raw)
    dtype = _dtype(raw)
    offset = float(raw["vox_offset"])
    if not HEADER_BYTES <= offset <= HEADER_BYTES + 2**24 or offset != int(offset):
        raise BadFileError(f"has a damaged header (voxels are said to start at byte {offset:g})", DOWNLOAD_AGAIN)
    affine, remarks = _geometry(raw)
    slope, intercept, scaling = _scaling(raw)
    header = Header(shape, dtype, affine, int(offset), slope, intercept, (*remarks, *scaling))
    _require_fitting_size(header, path)
    if offset > HEADER_BYTES:
        head = _first_bytes(path, header.offset)
    try:
        nibabel.Nifti1Header.from_fileobj(io.BytesIO(head), check=False)
    except Exception as fault:  # later steps would raise the same
        raise BadFileError(f"has a damaged header extension ({fault})", WRITE_AGAIN) from None
    return header


def _first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a regular file, unpacked if it is zipped."""
    zipped = path.name.lower().endswith(".gz")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            what = "is a folder" if stat.S_ISDIR(status.st_mode) else "is not a regular file (a pipe, socket or device)"
            raise BadFileError(f"{what} where a NIfTI file is expected", "put the file itself at this path")
        if status.st_size == 0:
            raise BadFileError("is empty (0 bytes)", DOWNLOAD_AGAIN)
        with path.open("rb") as stream:
            start = stream.read(count + 65536 if zipped else count)
    except FileNotFoundError:
        if path.is_symlink():
            what = f"is a link to {path.readlink()}, which is missing"
            raise BadFileError(what, "restore the file it points at (`dvc pull` where DVC keeps the data)") from None
        raise BadFileError("is missing", "restore the file, or take the case out of the cohort") from None
    except OSError as fault:
        raise BadFileError(f"cannot be read ({fault.strerror})", "check its permissions and the disk") from None
    is_gzip = start[:2] == b"\x1f\x8b"
    if is_gzip and not zipped:
        raise BadFileError("is gzip-compressed and is not named .gz", "rename it to .nii.gz, or unpack it with gunzip")
    if zipped and start[:4] in _SIZES_OF_HEADER:
        raise BadFileError("is named .gz and is not compressed", "rename it to .nii, or compress it with gzip")
    if zipped and not is_gzip:
        raise BadFileError("is not a gzip file", DOWNLOAD_AGAIN)
    if zipped:
        try:
            start = zlib.decompressobj(wbits=31).decompress(start, count)
        except zlib.error as fault:
            raise BadFileError(f"is a damaged gzip file ({fault})", DOWNLOAD_AGAIN) from None
    if len(start) < count and len(start) >= 4 and start[:4] not in _SIZES_OF_HEADER:
        raise BadFileError("is not a NIfTI file", WRITE_AGAIN)
    if len(start) < count:
        raise BadFileError(f"is truncated within its header ({len(start)} of {count} bytes)", DOWNLOAD_AGAIN)
    return start


def _parse(head: bytes) -> nibabel.Nifti1Header:
    size, magic = head[:4], head[344:348]
    if size in ((540).to_bytes(4, "little"), (540).to_bytes(4, "big")):
        raise BadFileError("is NIfTI-2, which not every reader takes", WRITE_AGAIN)
    if size not in _SIZES_OF_HEADER and head[128:132] == b"DICM":
        raise BadFileError("is DICOM, not NIfTI", "convert the series with dcm2niix")
    if size not in _SIZES_OF_HEADER:
        raise BadFileError("is not a NIfTI file (its first four bytes are not the header's size)", WRITE_AGAIN)
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
        raise BadFileError(f"is {len(shape)}D ({named}) where 3D is expected", "export the volume, not a slice of it")
    if min(shape[:3]) < SMALLEST_SIDE or max(shape[:3]) > LARGEST_SIDE or max(shape[3:], default=1) > LARGEST_SIDE:
        what = f"has impossible dimensions ({named}): a side has {SMALLEST_SIDE} to {LARGEST_SIDE} voxels"
        raise BadFileError(what, "export the whole volume, resampled to about 1 mm")
    return shape


def _dtype(raw: nibabel.Nifti1Header) -> np.dtype:
    code, bits = int(raw["datatype"]), int(raw["bitpix"])
    dtype = np.dtype(data_type_codes.dtype.get(code, "V"))
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        known = data_type_codes.label.get(code, f"code {code}")
        raise BadFileError(f"has voxels of type {known}, where integers or real numbers are expected", WRITE_AGAIN)
    if bits != dtype.itemsize * 8:
        raise BadFileError(f"has a damaged header ({bits} bits a voxel for type {dtype.name})", DOWNLOAD_AGAIN)
    return dtype.newbyteorder(raw.endianness)


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
        raise BadFileError("has a damaged orientation (an affine that is not finite or far away)", WRITE_AGAIN)
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
    if not any(codes.values()):
        remark = "has no orientation (sform and qform unset)", "check left and right before you trust a figure"
    elif codes["sform"] and qform is not None and not np.allclose(affine, qform, rtol=0, atol=1e-2):
        remark = "has an sform and a qform that disagree, so readers place it differently", WRITE_AGAIN
    else:
        return affine, []
    return affine, [remark]


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


def _require_fitting_size(header: Header, path: Path) -> None:
    size, due = path.stat().st_size, header.bytes_in_all
    zipped = path.name.lower().endswith(".gz")
    least, most = (due / LARGEST_GZIP_RATIO, 2 * due + 2**20) if zipped else (due, due)
    if due > LARGEST_FILE:
        raise BadFileError(f"claims {due / 2**30:.1f} GiB of voxels", "check the header's dimensions and type")
    if not least <= size <= most:
        how = "is truncated" if size < least else "is longer than its header says"
        raise BadFileError(f"{how} ({size} bytes, {due} expected{' unpacked' if zipped else ''})", DOWNLOAD_AGAIN)
