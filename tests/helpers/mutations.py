"""
Mutations of valid files, with which `hostile_files.py` and the tests check the readers.

A mutator is a function of the bytes of a file and a random generator that returns other bytes. `mutated` applies one to
three mutators for the kind of a file: general ones, which flip, cut, repeat and overwrite bytes, and ones for FITS,
YAML, JSON and region files, which insert extreme numbers and names.
"""

import gzip
import hashlib
import io
import json
import re
import struct
import warnings

import numpy as np

SENTINEL = "executed"  # file that a payload would create if it were executed
NUMBERS = ("0", "-1", "1", "7", "32767", "2147483647", "-2147483648", "4294967296", "1099511627776")
NUMBERS = (*NUMBERS, "9223372036854775807", "18446744073709551616", "1e308", "-1e308", "1e400", "1e-320", "nan", "inf")
WORDS = ("", "T", "F", "'abc'", "../../x", "<script>", "$\\frac$", "\x00", "\ud7ff", "10**9999999999 m", "m^99999999")
WORDS = (*WORDS, "[", "{", "&a", "*a", "~", "9" * 5000, "a" * 300, "%s%n", "__class__", "é" * 10)

_BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
_MERGE = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [{','.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 40))
_OBJECT = "{buffer: 'QUFBQUFBQUE=', dtype: %s, shape: [1], order: C}"
YAML = (
    f"!!python/object/apply:os.system ['touch {SENTINEL}']",
    f"!!python/object/new:subprocess.Popen [['touch', '{SENTINEL}']]",
    f"!!python/object/apply:builtins.eval [\"open('{SENTINEL}', 'w')\"]",
    "!!python/name:os.system",
    "!!python/module:os",
    "!astropy.table.SerializedColumn {__class__: os.system, value: touch executed}",
    "{__serialized_columns__: {ra: {__class__: subprocess.Popen, args: [touch, executed]}}}",
    "{__serialized_columns__: {ra: {__class__: astropy.coordinates.builtin_frames.utils.np, x: 1}}}",
    f"!numpy.ndarray {_OBJECT % 'object'}",
    f"!numpy.ndarray {_OBJECT % 'O'}",
    f"!numpy.ndarray {_OBJECT % '[!!python/tuple [a, O]]'}",
    f"!numpy.void {_OBJECT % '|O8'}",
    "!numpy.ndarray {buffer: 'AAAAAAAAAAA=', dtype: f8, shape: [1000000000000], strides: [0]}",
    "!numpy.ndarray {buffer: '', dtype: f8, shape: [1099511627776, 1099511627776]}",
    "!astropy.units.Unit {unit: '10**9999999999 m'}",
    "!astropy.units.Quantity {value: '10**9999999999 m', unit: m}",
    "!astropy.time.Time {jd1: 1e300, jd2: nan, format: jd, scale: utc}",
    "!astropy.coordinates.sky_coordinate.SkyCoord {ra: 1, dec: 100, representation_type: x}",
    "!astropy.coordinates.earth.EarthLocation {x: 1}",
    "[" * 5000,
    "{a: " * 300 + "1" + "}" * 300,
    "&a [*a]",
    "{&a b: *a, 1: 2, [x]: 3, ~: 4}",
    "!!binary '////'",
    "!!set {a, b}",
    "2001-99-99",
    "1" + ":59" * 500,
    "9" * 6000,
    "!!float x",
    "'\\ud800'",
    _BOMB,
    _MERGE,
)

# ---- general


def flip(content, rng):
    content = bytearray(content)
    for at in rng.integers(0, max(len(content), 1), 1 + rng.integers(8)):
        if content:
            content[at] ^= 1 << int(rng.integers(8))
    return bytes(content)


def truncate(content, rng):
    return content[: int(rng.integers(0, len(content) + 1))]


def repeat(content, rng):
    begin, end = _span(content, rng)
    at = int(rng.integers(0, len(content) + 1))
    return content[:at] + content[begin:end] * int(rng.integers(1, 4)) + content[at:]


def remove(content, rng):
    begin, end = _span(content, rng)
    return content[:begin] + content[end:]


def overwrite(content, rng):
    begin, end = _span(content, rng)
    fill = (rng.bytes(end - begin), bytes(end - begin), b"\xff" * (end - begin), b" " * (end - begin))
    return content[:begin] + fill[int(rng.integers(4))] + content[end:]


def insert(content, rng):
    at = int(rng.integers(0, len(content) + 1))
    return content[:at] + _token(rng).encode("utf-8", "surrogatepass") + content[at:]


def noise(content, rng):
    return rng.bytes(int(rng.integers(0, 4000)))


BLIND = (flip, truncate, repeat, remove, overwrite, insert, noise)


def _span(content, rng):
    """Return a range of bytes; in FITS files often of complete blocks."""
    unit = 2880 if content.startswith(b"SIMPLE") and rng.random() < 0.5 else 1
    blocks = len(content) // unit + 1
    begin = int(rng.integers(0, blocks))
    return begin * unit, min(begin + 1 + int(rng.exponential(200 / unit)), blocks) * unit


def _token(rng):
    return str((*NUMBERS, *WORDS)[int(rng.integers(len(NUMBERS) + len(WORDS)))])


# ---- FITS

_STRUCTURE = ("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "GROUPS")
_STRUCTURE = (*_STRUCTURE, "TFIELDS", "THEAP", "TFORM1", "TFORM2", "TTYPE1", "TDIM1", "TSCAL1", "TZERO1", "TNULL1")
_STRUCTURE = (*_STRUCTURE, "TUNIT1", "TDISP1", "EXTNAME", "EXTVER", "BSCALE", "BZERO", "BLANK", "BUNIT", "NSIDE")
_STRUCTURE = (*_STRUCTURE, "INDXSCHM", "ORDERING", "COORDSYS", "WCSAXES", "CTYPE1", "CUNIT1", "CDELT1", "CRVAL2")
_STRUCTURE = (*_STRUCTURE, "PC1_1", "PV2_1", "A_ORDER", "RADESYS", "EQUINOX", "DATE-OBS", "MJD-OBS", "LONPOLE")
_STRUCTURE = (*_STRUCTURE, "ZIMAGE", "ZNAXIS1", "ZTILE1", "ZBITPIX", "ZCMPTYPE", "ZVAL1", "ZDITHER0", "ANGLE", "CD1_1")
_VALUES = ("'BINTABLE'", "'TABLE   '", "'IMAGE   '", "'1D      '", "'1000000000D'", "'0D'", "'1PE(100)'", "'QD'", "'X'")
_VALUES = (*_VALUES, "'12345678901X'", "'NOTES   '", "'KAPPA   '", "'10**9999999999m'", "'RA---SIP'", "'GLON-ZPN'")
_VALUES = (*_VALUES, "'EXPLICIT'", "'NESTED  '", "'GZIP_1  '", "'PLIO_1  '", "'(2,3,999999)'", "'2001-99-99'")
_VALUES = (*_VALUES, "-32", "-64", "8", "16")


def card(content, rng):
    """Replace the value of a header card, or a structural card by another."""
    cards = [m.start() for m in re.finditer(rb"[A-Z0-9_-]{1,8} *= ", content) if m.start() % 80 == 0]
    if not cards:
        return flip(content, rng)
    at = cards[int(rng.integers(len(cards)))]
    key = content[at : at + 8].decode("ascii").strip()
    if rng.random() < 0.5:
        key = _STRUCTURE[int(rng.integers(len(_STRUCTURE)))]
        same = [place for place in cards if content[place : place + 8].decode("ascii").strip() == key]
        at = same[int(rng.integers(len(same)))] if same and rng.random() < 0.8 else at
    choices = (*_VALUES, *NUMBERS) if rng.random() < 0.8 else WORDS
    value = str(choices[int(rng.integers(len(choices)))])
    text = f"{key[:8]:8}= {value:>20}".encode("latin-1", "replace")[:80].ljust(80)
    return content[:at] + text + content[at + 80 :]


def notes(content, rng):
    """Insert a YAML payload into the notes, the comments or a column of a table."""
    from astropy.io import fits
    from astropy.table import Table

    payload = YAML[int(rng.integers(len(YAML)))]
    try:
        with warnings.catch_warnings(), fits.open(io.BytesIO(content), memmap=False) as hdus:
            warnings.simplefilter("ignore")
            kept, buffer = fits.HDUList([hdu.copy() for hdu in hdus]), io.BytesIO()
            if "NOTES" in [hdu.name for hdu in kept] and rng.random() < 0.8:
                table = Table(kept["NOTES"].data)  # without the YAML that a mutation before this one may have inserted
                texts = [str(text) for text in table["content"]]
                texts[int(rng.integers(len(texts)))] = payload if rng.random() < 0.5 else f"x: {payload}"
                table["content"] = texts
                kept["NOTES"] = fits.table_to_hdu(table)
                kept[-1].name = "NOTES"
            else:
                _serialized(kept[-1].header, payload)
            kept.writeto(buffer, output_verify="ignore")
            return buffer.getvalue()
    except Exception:  # already mutated and not readable
        return card(content, rng)


def _serialized(header, payload):
    text = f"meta: {payload}" if len(payload) < 2000 else payload
    header["COMMENT"] = "--BEGIN-ASTROPY-SERIALIZED-COLUMNS--"
    for line in text.split("\n"):
        for at in range(0, len(line), 70):
            header["COMMENT"] = line[at : at + 70] + ("\\" if at + 70 < len(line) else "")
    header["COMMENT"] = "--END-ASTROPY-SERIALIZED-COLUMNS--"


# ---- text


def number(content, rng):
    """Replace a number of a text by another number or a word."""
    found = list(re.finditer(rb"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", content))
    if not found:
        return insert(content, rng)
    match = found[int(rng.integers(len(found)))]
    return content[: match.start()] + _token(rng).encode("utf-8", "surrogatepass") + content[match.end() :]


def word(content, rng):
    """Replace a word of a text by another word of it."""
    found = list(re.finditer(rb"\w+|[^\w\s]", content))
    if len(found) < 2:
        return insert(content, rng)
    old, new = (found[int(i)] for i in rng.integers(len(found), size=2))
    return content[: old.start()] + new.group() + content[old.end() :]


def line(content, rng):
    """Remove, repeat or exchange lines."""
    lines = content.split(b"\n")
    a, b = (int(i) for i in rng.integers(len(lines), size=2))
    how = rng.random()
    if how < 0.3:
        del lines[a]
    elif how < 0.6:
        lines.insert(a, lines[b])
    elif how < 0.9:
        lines[a], lines[b] = lines[b], lines[a]
    else:
        lines[a] = lines[a] * int(rng.integers(2, 300))
    return b"\n".join(lines)


def yaml(content, rng):
    """Insert a YAML payload into the header of an ECSV table."""
    lines, payload = content.split(b"\n"), YAML[int(rng.integers(len(YAML)))]
    heads = [i for i, text in enumerate(lines) if text.startswith(b"# ")]
    if not heads:
        return insert(content, rng)
    at = heads[int(rng.integers(len(heads)))]
    how = rng.random()
    if how < 0.4:
        lines.insert(heads[-1] + 1, "\n".join(f"# {text}" for text in f"meta: {payload}".split("\n")).encode())
    elif how < 0.6:
        lines.insert(heads[-1] + 1, "\n".join(f"# {text}" for text in payload.split("\n")).encode())
    elif how < 0.8:
        types = ("float64[1000000,1000000]", "json", "object", "U1000000000", "(1000000000,)f8", "string[null]", "V99")
        kind = types[int(rng.integers(len(types)))]
        lines[at] = re.sub(rb"datatype: \w+", f"datatype: string, subtype: '{kind}'".encode(), lines[at])
        if rng.random() < 0.5:
            lines[at] = re.sub(rb"datatype: \w+", f"datatype: {kind}".encode(), lines[at])
    else:
        lines[at] = re.sub(rb": [^,}]*", f": {_token(rng)}".encode("utf-8", "replace"), lines[at], count=1)
    return b"\n".join(lines)


# ---- safetensors


def tensors_header(content, rng):
    """Replace a value in the header of a safetensors file, or in its JSON."""
    parts = _split(content)
    if parts is None:
        return flip(content, rng)
    header, body = parts
    metadata = header.get("__metadata__")
    inner = next(iter(metadata), None) if isinstance(metadata, dict) else None
    if inner is not None and rng.random() < 0.7:
        try:
            notes = json.loads(header["__metadata__"][inner])
        except (TypeError, ValueError):
            return flip(content, rng)
        header["__metadata__"][inner] = json.dumps(_replaced(notes, rng))
    else:
        header = _replaced(header, rng)
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + body


def tensors(content, rng):
    """Replace shape, type or content of a tensor, and correct the checksum."""
    parts = _split(content)
    if parts is None:
        return flip(content, rng)
    header, body = parts
    names = [name for name in header if name != "__metadata__"]
    try:
        arrays = {n: body[slice(*header[n]["data_offsets"])] for n in names}
        name, metadata = names[int(rng.integers(len(names)))], header["__metadata__"]
        entry = header[name]
        how = int(rng.integers(5))
        if how == 0:
            entry["shape"] = entry["shape"][::-1] if rng.random() < 0.5 else [1, *entry["shape"]]
        elif how == 1:
            value = (np.nan, np.inf, -1, 1e38)[int(rng.integers(4))]
            arrays[name] = np.full(len(arrays[name]) // 4, value, "<f4").tobytes()
        elif how == 2:
            types = {"I64": 8, "F64": 8, "F16": 2, "BF16": 2, "BOOL": 1, "U8": 1, "F8_E4M3": 1}
            entry["dtype"] = list(types)[int(rng.integers(len(types)))]
            entry["shape"] = [len(arrays[name]) // types[entry["dtype"]]]
        elif how == 3:
            del arrays[name], header[name]
        else:
            arrays["more"], header["more"] = arrays[name], dict(entry)
        packed, at = b"", 0
        for n in arrays:
            header[n]["data_offsets"] = [at, at + len(arrays[n])]
            packed, at = packed + arrays[n], at + len(arrays[n])
        for section, text in metadata.items():
            inside = json.loads(text)
            if "sha256" in inside:
                inside["sha256"] = _checksum(header, arrays)
            metadata[section] = json.dumps(inside)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return flip(content, rng)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + packed


def _checksum(header, arrays):
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(str(tuple(header[name]["shape"])).encode())
        digest.update(arrays[name])
    return digest.hexdigest()


def _split(content):
    try:
        length = struct.unpack("<Q", content[:8])[0]
        header = json.loads(content[8 : 8 + length])
    except (struct.error, ValueError, OverflowError):
        return None
    return (header, content[8 + length :]) if isinstance(header, dict) else None


def _replaced(value, rng):
    """Return a JSON value with one of its parts replaced."""
    if isinstance(value, dict | list) and value and rng.random() < 0.9:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = keys[int(rng.integers(len(keys)))]
        value = dict(value) if isinstance(value, dict) else list(value)
        if rng.random() < 0.05:
            del value[key]
        else:
            value[key] = _replaced(value[key], rng)
        return value
    deep = [[]]
    for _ in range(900):
        deep = [deep]
    extremes = (0, -1, 1, 7, 2**31, 2**40, 2**63, 2**70, 10**400, 1e308, -1e308, float("nan"), float("inf"), None, True)
    extremes = (*extremes, "", "abc", "../../x", "\x00", [], {}, [1], [2**40, 2**40], {"a": 1}, deep, "9" * 5000)
    return extremes[int(rng.integers(len(extremes)))]


# ---- all of them

MUTATORS = {
    "fits": (card, card, card, notes, *BLIND),
    "table": (yaml, yaml, number, word, line, *BLIND),
    "text": (number, word, line, number, word, line, *BLIND),
    "tensors": (tensors_header, tensors_header, tensors, tensors, *BLIND),
    "binary": BLIND,
}


def bomb(rng):
    """Return a compressed file that expands to a much larger size."""
    beginning = b"SIMPLE  =                    T".ljust(80) if rng.random() < 0.5 else b"# %ECSV 1.0\n"
    return gzip.compress(beginning + bytes(2**20) * int(rng.integers(1, 200)), 1)


def mutated(content, kind, rng, *, packed=False):
    """Return mutated bytes of a file of a kind; ``packed``: the file is compressed by gzip."""
    if packed:
        if rng.random() < 0.002:
            return bomb(rng)
        if rng.random() < 0.2:
            return mutated(content, "binary", rng)
        return gzip.compress(mutated(gzip.decompress(content), kind, rng), 1)
    mutators, n = MUTATORS[kind], 1 + min(int(rng.exponential(0.7)), 3)
    chosen = [mutators[int(rng.integers(len(mutators)))] for _ in range(n)]
    for mutate in sorted(chosen, key=lambda mutate: mutate is not notes):  # it reads the file, which needs to be intact
        content = mutate(content, rng)
    return content
