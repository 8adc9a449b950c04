"""Check tables and regions in text before astropy and regions read them."""

import codecs
import io
import json
import math
import re
import textwrap

from astropy.table.meta import get_header_from_yaml

from .._utils.progress import warn
from .._utils.untrusted import unpacked
from .yaml_text import check_unit, check_yaml

_MARK, _UTF16_MARKS = codecs.BOM_UTF8, (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_WIDE = "utf-16", "utf-32"
_COMMENT = re.compile(r"\s*# ?")
_ECSV_TYPE = re.compile(r"(bool|u?int(8|16|32|64)|float(16|32|64|128)|complex(64|128|256)|string|str|object)")
_MOST_NUMBERS = 2**22  # of an array in a column: an empty field of an ECSV table is a full array
_WIDEST, _MOST_COLUMNS = 30_000, 2000  # characters and columns of the line of names: cost of astropy is quadratic
_SEXTRACTOR = re.compile(r"\s*#\s*(\d+)\s+[A-Za-z_]\S*")  # number and name of a column
_RULE = {*"-;|,\t "}  # characters of the line below the names and units of VizieR
_DELIMITERS = re.compile(r"[,;|&\s]+")
_VOTABLE = re.compile(rb"VOTABLE", re.IGNORECASE)
_DECLARATION = re.compile(rb"<!(ENTITY|ATTLIST)", re.IGNORECASE)  # unlimited expansion, and hidden attributes
_STREAM = re.compile(rb"<\s*(?:[^\s<>/]+:)?STREAM\b[^<]*?\bhref\s*=", re.IGNORECASE)  # astropy would open its address
_TAGS, _DEEPEST = re.compile(rb"</?[A-Za-z]|/>"), 200
_XML_SIZE = re.compile(rb"\barraysize\s*=\s*[\"']?([\dx*]+)", re.IGNORECASE)
_XML_UNIT = re.compile(rb"\bunit\s*=\s*[\"']([^\"'>]*)", re.IGNORECASE)
_PAIR = re.compile(r"\[[^][=,]{1,40},[^][=,]{1,40}\](?=\s*[],])")
_LONG_WORD = re.compile(r"\w{200}|[\s'\"]{200}")
_LONGEST = {"ds9": 4096, "crtf": 2048}  # characters of a line besides its coordinates


def check_table(file, encoding=None):
    """
    Raise ValueError for a table in text that astropy would need too much memory or time to read.

    Return its comments, first line, and the two lines below it, for `table_layout`; an empty list for XML and ECSV.
    """
    with open(file, "rb") as stream, unpacked(stream) as plain:
        if encoding and codecs.lookup(encoding).name.startswith(_WIDE):
            plain, encoding = io.BytesIO(plain.read().decode(encoding).encode()), "utf-8"
        start = plain.read(512)
        plain.seek(0)
        if b"\0" in start[:4] or start.startswith(_UTF16_MARKS):
            raise ValueError(
                "it is binary, or in UTF-16: give its encoding, for example encoding='utf-16-le'; convert XML to UTF-8"
            )
        if start.lstrip(_MARK + b" \t\r\n").startswith(b"<"):
            _check_xml(plain.read())
            return []
        lines, below = _head(plain, encoding or "utf-8")
    comments = [line[match.end() :] for line in lines if (match := _COMMENT.match(line))]
    comments = [line for line in comments if line]
    ecsv = bool(comments) and comments[0].strip().startswith("%ECSV")
    if ecsv:
        _check_ecsv(comments)
    for line in lines[-1:] if ecsv else lines:
        if len(line) > _WIDEST or len(_DELIMITERS.findall(line)) > _MOST_COLUMNS:
            raise ValueError(f"it begins with a line of {len(line)} characters, which does not name columns")
    if not ecsv and (not lines or _COMMENT.match(lines[-1])):
        raise ValueError("it is empty, or contains only comments")
    return [] if ecsv else [*lines, *below]


def table_layout(lines, *, csv):
    """
    Return the arguments of `astropy.table.Table.read` that its guesses lack, and the units in a line below the names.

    ``lines`` are those of `check_table`; ``csv`` is True for CSV files, where astropy does not guess.
    """
    if not lines:
        return {}, []
    end = next(i for i, line in enumerate(lines) if not _COMMENT.match(line))
    comments, first, below = lines[:end], lines[end], lines[end + 1 :]
    separator = max(";,\t", key=first.count)
    separator = separator if separator in first else None
    units = [unit.strip() for unit in below[0].split(separator)]
    if "--" in below[-1] and {*below[-1]} <= _RULE and not any(map(_is_number, units)):
        for unit in units:
            check_unit(unit)
        options = {"format": "ascii.tab" if separator == "\t" else "ascii.basic", "data_start": 3}
        options |= {"delimiter": separator} if separator else {}
        return options, units if len(units) == len(first.split(separator)) else []
    numbered = [int(match[1]) for line in comments if (match := _SEXTRACTOR.match(line))]
    if numbered[:1] == [1] and 1 < len(numbered) <= numbered[-1] <= len(first.split()):
        return {"format": "ascii.sextractor"}, []
    options = {"delimiter": separator} if separator == ";" or (separator == "\t" and csv) else {}
    fields = first.split(separator)
    count = sum(map(_is_number, fields)) if [f.strip() for f in fields] != [str(i) for i in range(len(fields))] else 0
    words = [line.lstrip("# ").split(separator) for line in comments[:-3:-1]]  # of the last comment, and that above it
    if len(words) == 2 and len(words[0]) != len(fields):  # no line of units below the names
        del words[1]
    named = [-i for i, names in enumerate(words, 1) if _are_names(names, fields)]
    if count and named:  # a line of data may contain text, such as identifiers, and flags
        options = {"format": "ascii.commented_header", "header_start": named[0]}
    elif count == len(fields):
        options = {"format": "ascii.no_header"}
    elif csv and comments:
        options["comment"] = "#"
    if count and separator and "format" in options:
        options["delimiter"] = separator
    return options, []


def _are_names(words, fields):
    return len(words) == len(fields) == len({*words}) and not any(map(_is_number, words))


def _is_number(text):
    try:
        float(text.strip(" \"'"))
    except ValueError:
        return False
    return True


def text_encoding(file):
    """
    Return the encoding of text that is not plain UTF-8; None for UTF-8, XML and binary files.

    This is "utf-16" or "utf-8-sig" with a byte order mark, else "latin-1". ValueError for a wrong mark.
    """
    with open(file, "rb") as stream, unpacked(stream) as plain:
        start, decoder = plain.read(512), codecs.getincrementaldecoder("utf-8")()
        if start.lstrip(_MARK + b" \t\r\n").startswith(b"<"):  # XML declares its own
            return None
        if start.startswith(_UTF16_MARKS):
            return None if start.decode("utf-16", errors="ignore").lstrip().startswith("<") else "utf-16"
        found = "utf-8-sig" if start.startswith(_MARK) else None
        plain.seek(0)
        while piece := plain.read(2**20):
            if b"\0" in piece:
                return None
            if found == "latin-1":
                continue
            try:
                decoder.decode(piece)
            except UnicodeDecodeError:
                found = _latin(found)
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            found = _latin(found)
    return found


def _latin(found):
    if found == "utf-8-sig":
        raise ValueError(
            "its byte order mark declares UTF-8, but it is not in UTF-8; save it in UTF-8, or remove the mark (its "
            "first three bytes) and give its encoding, for example encoding='latin-1'"
        )
    return "latin-1"


def _head(stream, encoding):
    """Return the comments and the first other line, and up to two lines below it."""
    found = bytearray()
    for line in stream:
        found += line
        line = line.removeprefix(_MARK) if len(found) == len(line) else line
        if line.strip() and not line.lstrip().startswith(b"#"):
            break
    lines = found.decode(encoding, errors="replace").removeprefix("\ufeff").splitlines()
    lines = [line for line in lines if line.strip()]
    end = next((i for i, line in enumerate(lines) if not _COMMENT.match(line)), len(lines))
    below = [stream.readline(_WIDEST).decode(encoding, errors="replace").rstrip("\r\n") for _ in range(2)]
    return lines[: end + 1], below


def _check_ecsv(lines):
    check_yaml(textwrap.dedent("\n".join(lines)))
    for column in get_header_from_yaml(lines)["datatype"]:
        kind, array = str(column["datatype"]), str(column.get("subtype", ""))
        if not _ECSV_TYPE.fullmatch(kind):
            raise ValueError(f"its header has datatype: {kind[:40]}, which is not a type of ECSV")
        sides = [side for side in json.loads(array[array.find("[") :] if "[" in array else "[]") if side is not None]
        if not all(isinstance(side, int) and side >= 0 for side in sides) or math.prod(sides) > _MOST_NUMBERS:
            raise ValueError(
                f"its header declares arrays of the shape {array[:40]}, the limit is {_MOST_NUMBERS} numbers"
            )


def _check_xml(text):
    if _VOTABLE.search(text):
        if _DECLARATION.search(text):
            raise ValueError(
                "it declares entities or attributes (ENTITY, ATTLIST), which may expand without limit; remove them"
            )
        if _STREAM.search(text):
            raise ValueError("its data are in another file or at an address (STREAM href); read that file instead")
    depth = deepest = 0
    for tag in _TAGS.finditer(text):
        depth += -1 if b"/" in tag[0] else 1
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        raise ValueError(f"its elements are nested in {deepest} levels, the limit is {_DEEPEST}")
    for size in _XML_SIZE.findall(text):
        if math.prod(int(side[:20]) for side in re.findall(rb"\d+", size)) > max(len(text), 1024):
            raise ValueError(f"it declares arraysize = {size[:40].decode()!r}, more than the size of the file")
    for unit in _XML_UNIT.findall(text):
        check_unit(unit.decode("utf-8", errors="replace"))


def _decoded(data):
    """Return text decoded from UTF-8, UTF-16 with its mark, or else Latin-1, with a warning."""
    if data.startswith(_UTF16_MARKS):
        return data.decode("utf-16")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise ValueError("it is not text") from error
        warn("regions: the file is not in UTF-8; Latin-1 is assumed")
        return data.decode("latin-1")


def region_text(file, kind):
    """Return the text of a file of regions; ValueError for lines that the parser would need too long for."""
    with open(file, "rb") as stream, unpacked(stream) as plain:
        text = _decoded(plain.read()).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if kind == "crtf" and not text.startswith("#CRTF"):
        raise ValueError("it does not begin with #CRTF")
    for line in text.split("\n"):
        rest = _PAIR.sub("", line) if kind == "crtf" else line.partition(")")[2] or line
        if len(line) > 200 and (len(rest) > _LONGEST[kind] or _LONG_WORD.search(line)):
            raise ValueError(
                f"it has a line of {len(line)} characters that does not describe a region: {line[:40]!r} ..."
            )
    return text
