"""
Open FITS files after a check of their headers: all data that they declare must be in the file.

astropy allocates the memory that a header declares, follows negative offsets, and builds objects from YAML in
comments. All rules are listed in ``docs/tables/file_rules.rst``, with the fault that each prevents.
"""

import math
import os
import re
from contextlib import contextmanager

import numpy as np
from astropy.io import fits

from .._utils.untrusted import Unpacked, check_allowance, unpacked
from .hcompress import IsolatedImage
from .yaml_text import check_unit, check_yaml

_BLOCK, _MOST_AXES, _MOST_COLUMNS, _MOST_ORDER = 2880, 16, 999, 9
_MOST_BLOCKS = 1000  # of a header
_BITPIX = (8, 16, 32, 64, -32, -64)
_WIDTHS = {"L": 1, "B": 1, "I": 2, "J": 4, "K": 8, "A": 1, "E": 4, "D": 8, "C": 8, "M": 16}  # bytes of a number
_BINARY = re.compile(r"(\d*)([LXBIJKAEDCMPQ])([LXBIJKAEDCM]?)")
_ASCII = re.compile(r"[AIFED](\d+)")
_STRUCTURE = "SIMPLE|XTENSION|BITPIX|NAXIS\\d*|[PG]COUNT|GROUPS|TFIELDS|THEAP|T(FORM|BCOL|DIM)\\d+"
_OF_TILES = "|ZIMAGE|ZNAXIS\\d*|ZBITPIX|ZCMPTYPE|ZDITHER0|Z(TILE|NAME|VAL)\\d+"
# without PLIO_1: astropy's decoder takes sizes from the data, and reads and writes beyond its memory
_PACKINGS = ("RICE_1", "RICE_ONE", "GZIP_1", "GZIP_2", "NOCOMPRESS", "HCOMPRESS_1")
_YAML = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--", "--END-ASTROPY-SERIALIZED-COLUMNS--"


@contextmanager
def open_fits(file, *, whole=True, images=True, memmap=False):
    """
    Open a FITS file, by path or as a binary stream, within `_untrusted.parsing`; its errors are of any type.

    If not ``whole``, the last HDU may be truncated; if not ``images``, tile-compressed images may have no safe decoder.
    """
    stream = open(file, "rb") if isinstance(file, str | os.PathLike) else file  # noqa: SIM115
    with stream, unpacked(stream, until=0) as plain:
        isolated = check_headers(plain, whole=whole, images=images)
        plain.seek(0)
        with fits.open(plain, memmap=memmap) as hdus:
            if whole:
                _scale_nulls(hdus)
            if isolated:
                _isolate(hdus)
            yield hdus


def _isolate(hdus):
    """Have images compressed by HCOMPRESS_1 decoded in a child process."""
    for hdu in hdus:
        if isinstance(hdu, fits.CompImageHDU) and hdu.compression_type == "HCOMPRESS_1":
            hdu.__class__ = IsolatedImage


def _scale_nulls(hdus):
    """Scale TNULL of scaled columns: astropy compares it to physical values, the standard to stored ones."""
    for hdu in hdus:
        if not (isinstance(hdu, fits.BinTableHDU) and any(key.startswith("TNULL") for key in hdu.header)):
            continue
        for column in hdu.columns:
            scale, zero = (default if x in ("", None) else x for x, default in ((column.bscale, 1), (column.bzero, 0)))
            if isinstance(column.null, int) and (scale, zero) != (1, 0):
                exact = scale == 1 and zero in (2**15, 2**31, 2**63)  # unsigned integers
                column.null = column.null + int(zero) if exact else float(column.null) * scale + zero


def check_headers(stream, *, whole=True, images=True):
    """Raise OSError unless a stream contains all declared data; return whether ``images`` need a child process."""
    at, isolated = 0, False
    _length(stream, 6)
    stream.seek(0)
    if stream.read(6) != b"SIMPLE":
        raise OSError("it does not begin with SIMPLE, as FITS files do")
    while at < _length(stream, at + 1):
        _check_end(stream, at)
        stream.seek(at)
        try:
            header = fits.Header.fromfile(stream)
        except (EOFError, OSError):  # not a header: astropy stops here too
            if not at:
                raise
            break
        isolated |= images and str(header.get("ZCMPTYPE")).strip() == "HCOMPRESS_1"
        begin = stream.tell()
        size = _checked_size(header, stream, begin, whole=whole, images=images)
        length = _length(stream, 0)
        if whole and begin + size > length:
            raise OSError(f"it is truncated: its headers declare {begin + size} bytes, it has {length}")
        at = begin + math.ceil(size / _BLOCK) * _BLOCK
    return isolated


def _length(stream, end):
    """Return the length of a stream in bytes, after decompressing it up to ``end``."""
    if isinstance(stream, Unpacked):
        stream.fill(end)
    return stream.seek(0, os.SEEK_END)


def _check_end(stream, at):
    """Raise OSError for a header longer than the limit; only the header is decompressed."""
    for _ in range(_MOST_BLOCKS):
        _length(stream, at + _BLOCK)
        stream.seek(at)
        block = stream.read(_BLOCK)
        if len(block) < _BLOCK or any(block[card : card + 4] == b"END " for card in range(0, _BLOCK, 80)):
            return
        at += _BLOCK
    raise OSError(f"it contains a header of more than {_MOST_BLOCKS * _BLOCK} bytes")


def check_wcs(header):
    """Raise OSError for a header whose WCS would not fit into memory."""
    for card in header.cards:
        most = _MOST_AXES if card.keyword.startswith("WCSAXES") else _MOST_ORDER
        if card.keyword.startswith("WCSAXES") or re.fullmatch(r"[AB]P?_ORDER", card.keyword):
            try:
                large = not 0 <= float(card.value) <= most
            except (TypeError, ValueError):  # not a number
                large = False
            if large:
                raise OSError(f"its header has {card.keyword} = {str(card.value)[:40]!r}, the limit is {most}")


def _whole(header, key, default=None, *, least=0, most=2**62):
    """Return an integer of a header, if it lies within its limits."""
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise OSError(f"its header has {key} = {str(value)[:40]!r}, which is not an integer from {least} to {most}")
    return value


def _check_once(header):
    """Raise OSError for two values of a keyword of sizes: astropy uses sometimes the first, sometimes the last."""
    structure = re.compile(_STRUCTURE + (_OF_TILES if "ZIMAGE" in header else ""))
    values = {}
    for card in header.cards:
        if structure.fullmatch(card.keyword) and values.setdefault(card.keyword, card.value) != card.value:
            raise OSError(f"its header has two values of {card.keyword}")


def _checked_size(header, stream, begin, *, whole, images):
    """Return the size in bytes of the data behind a header; a compressed stream is decompressed up to their end."""
    _check_once(header)
    axes = [_whole(header, f"NAXIS{axis + 1}") for axis in range(_whole(header, "NAXIS", most=_MOST_AXES))]
    if _whole(header, "BITPIX", least=-64) not in _BITPIX:
        raise OSError(f"its header has BITPIX = {header['BITPIX']}, which needs to be one of {_BITPIX}")
    if header.get("GROUPS", False) and axes and not axes[0]:
        raise OSError("it contains random groups, which are not read")
    extra, groups = _whole(header, "PCOUNT", 0), _whole(header, "GCOUNT", 1, least=1)
    size = abs(header["BITPIX"]) // 8 * groups * (extra + (math.prod(axes) if axes else 0))
    padded = begin + math.ceil(size / _BLOCK) * _BLOCK
    too_large = isinstance(stream, Unpacked) and begin + size > stream.limit
    if too_large and whole:
        raise OSError(
            f"it is compressed, and its headers declare {(begin + size) / 2**20:.3g} MiB, more than the limit of "
            f"{stream.limit / 2**20:.3g} MiB for a file of its size on this computer; decompress it first"
        )
    check_wcs(header)
    for card in header.cards:
        if "UNIT" in card.keyword and isinstance(card.value, str):
            check_unit(card.value)
    _check_comments([str(comment) for comment in header.get("COMMENT", ())])
    kind = str(header.get("XTENSION", "")).strip()
    length = _length(stream, begin if too_large else padded)
    if kind in ("BINTABLE", "A3DTABLE", "TABLE"):
        if len(axes) != 2 or header["BITPIX"] != 8 or groups != 1:
            raise OSError(
                "it contains a table that does not consist of rows of bytes (NAXIS = 2, BITPIX = 8, GCOUNT = 1)"
            )
        columns = _columns(header, binary=kind != "TABLE")
        if begin + size <= length:
            _check_heap(header, columns, stream, begin, length)
        if "ZIMAGE" in header:
            _check_tiles(header, length, images=images)
    return size


def _columns(header, binary):
    """Return formats and offsets (bytes) of the columns of a table, which need to fill its rows exactly."""
    width, rows = _whole(header, "NAXIS1"), _whole(header, "NAXIS2")
    columns, place = [], 0
    for number in range(1, _whole(header, "TFIELDS", most=_MOST_COLUMNS) + 1):
        text = str(header.get(f"TFORM{number}")).strip()
        match = (_BINARY if binary else _ASCII).match(text)
        if match is None or len(match[1]) > 18:
            raise OSError(f"its header has TFORM{number} = {text[:40]!r}, which is not a format of the FITS standard")
        if binary:
            columns.append((match, place))
            place += _bytes(match)
        else:
            place = max(place, _whole(header, f"TBCOL{number}", least=1) - 1 + int(match[1]))
    if place > width or (binary and place < width) or (rows and not width):
        raise OSError(f"it contains a table with rows of {width} bytes, but columns of {place}")
    return columns


def _bytes(match):
    count, letter = int(match[1] or 1), match[2]
    if letter in "PQ":
        return min(count, 1) * (8 if letter == "P" else 16)
    return math.ceil(count / 8) if letter == "X" else count * _WIDTHS[letter]


def _check_heap(header, columns, stream, begin, length):
    """Raise OSError if arrays of variable length exceed the heap, or the allowance for the file."""
    width, rows, total = header["NAXIS1"], header["NAXIS2"], 0
    heap = _whole(header, "THEAP", width * rows, least=width * rows, most=width * rows + header.get("PCOUNT", 0))
    room = width * rows + header.get("PCOUNT", 0) - heap
    columns = [(match, place) for match, place in columns if match[2] in "PQ" and _bytes(match)]
    if not columns or not rows:
        return
    stream.seek(begin)
    table = np.frombuffer(stream.read(width * rows), np.uint8).reshape(rows, width)
    for match, place in columns:
        pointers = np.ascontiguousarray(table[:, place : place + _bytes(match)])
        pointers = pointers.view(">i4" if match[2] == "P" else ">i8")
        counts, offsets = pointers.astype(float).T * ([_WIDTHS.get(match[3], 1)], [1])
        if (pointers < 0).any() or (counts + offsets > room).any():
            raise OSError("it contains arrays of variable length that extend beyond its heap")
        total += counts.sum()
        if "ZIMAGE" in header and counts.max() > 0:
            check_allowance(int(1100 * counts.max()), length, f"tiles of {int(counts.max())} compressed bytes")
    check_allowance(int(total), length, "arrays of variable length")


def _check_tiles(header, length, *, images):
    n = _whole(header, "ZNAXIS", least=1, most=_MOST_AXES)
    sides = [_whole(header, f"ZNAXIS{axis + 1}", least=1) for axis in range(n)]
    tiles = [_whole(header, f"ZTILE{i + 1}", sides[0] if not i else 1, least=1, most=sides[i]) for i in range(n)]
    if _whole(header, "ZBITPIX", least=-64) not in _BITPIX:
        raise OSError(f"its header has ZBITPIX = {header['ZBITPIX']}, which needs to be one of {_BITPIX}")
    _whole(header, "ZDITHER0", 1, least=1, most=10000)
    packing = str(header.get("ZCMPTYPE")).strip()
    if images and packing not in _PACKINGS:
        raise OSError(
            f"it contains an image compressed by {packing[:40]!r}, which has no safe decoder (images compressed by "
            f"{', '.join(_PACKINGS)} are read); decompress it first, for example by funpack"
        )
    if math.prod(math.ceil(side / tile) for side, tile in zip(sides, tiles, strict=True)) != header["NAXIS2"]:
        raise OSError(f"it contains {header['NAXIS2']} tiles, but its image has another number of tiles")
    known = {"BLOCKSIZE": (16, 32), "BYTEPIX": (1, 2, 4)}
    for number in range(1, 10):
        name = str(header.get(f"ZNAME{number}", "")).strip().upper()
        if name in known and header.get(f"ZVAL{number}") not in known[name]:
            raise OSError(
                f"its header has {name} = {header.get(f'ZVAL{number}')!r}, which needs to be one of {known[name]}"
            )
    check_allowance(abs(header["ZBITPIX"]) // 8 * math.prod(sides), length, f"an image of {sides} pixels")


def _check_comments(comments):
    """Check the YAML text that astropy's tables keep in comments."""
    if _YAML[0] not in comments:
        return
    lines = [""]
    for comment in comments[comments.index(_YAML[0]) + 1 :]:
        if comment == _YAML[1]:
            break
        lines[-1] += comment[:70]
        if len(comment) != 71:  # a line of 71 characters is continued
            lines.append("")
    check_yaml("\n".join(lines))
