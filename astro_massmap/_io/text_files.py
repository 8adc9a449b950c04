"""Tables and regions in text: a look at them before astropy and regions read them."""

import codecs
import json
import math
import re
import textwrap

from astropy.table.meta import get_header_from_yaml

from .._utils.progress import warn
from .._utils.untrusted import unpacked
from .yaml_text import check_unit, check_yaml

_MARK = codecs.BOM_UTF8
_COMMENT = re.compile(r"\s*# ?")
_ECSV_TYPE = re.compile(r"(bool|u?int(8|16|32|64)|float(16|32|64|128)|complex(64|128|256)|string|str|object)")
_MOST_NUMBERS = 2**22  # of an array in a column, where a blank stands for a whole one
_WIDEST, _MOST_COLUMNS = 30_000, 2000  # letters and columns of the line that names them: astropy needs their square
_DELIMITERS = re.compile(r"[,;|&\s]+")
_VOTABLE = re.compile(rb"VOTABLE", re.IGNORECASE)
_DECLARATION = re.compile(rb"<!(ENTITY|ATTLIST)", re.IGNORECASE)  # texts that grow, and attributes that no tag shows
_STREAM = re.compile(rb"<\s*(?:[^\s<>/]+:)?STREAM\b[^<]*?\bhref\s*=", re.IGNORECASE)  # astropy opens what it names
_TAGS, _DEEPEST = re.compile(rb"</?[A-Za-z]|/>"), 200
_XML_SIZE = re.compile(rb"\barraysize\s*=\s*[\"']?([\dx*]+)", re.IGNORECASE)
_XML_UNIT = re.compile(rb"\bunit\s*=\s*[\"']([^\"'>]*)", re.IGNORECASE)
_PAIR = re.compile(r"\[[^][=,]{1,40},[^][=,]{1,40}\](?=\s*[],])")
_LONG_WORD = re.compile(r"\w{200}|[\s'\"]{200}")
_LONGEST = {"ds9": 4096, "crtf": 2048}  # letters of a line beside its coordinates


def check_table(file, encoding=None):
    """Raise ValueError for a table in text, UTF-8 by default, that would grow as it is read, or take for ever."""
    with open(file, "rb") as stream, unpacked(stream) as plain:
        start = plain.read(512)
        plain.seek(0)
        if b"\0" in start[:4] or start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ValueError("it is no text, or one in UTF-16")
        if start.lstrip(_MARK + b" \t\r\n").startswith(b"<"):
            _check_xml(plain.read())
            return
        lines = _head(plain, encoding or "utf-8")
    comments = [line[match.end() :] for line in lines if (match := _COMMENT.match(line))]
    comments = [line for line in comments if line]
    if comments and comments[0].strip().startswith("%ECSV"):
        _check_ecsv(comments)
        lines = lines[-1:]
    widest = max(map(len, lines), default=0)
    if widest > _WIDEST or max((len(_DELIMITERS.findall(line)) for line in lines), default=0) > _MOST_COLUMNS:
        raise ValueError(f"it begins with a line of {widest} letters, which names no columns")


def text_encoding(file):
    """
    Return the encoding of a text that astropy would not read as it is, None for others.

    This is "utf-8-sig" for UTF-8 with a byte order mark, as spreadsheets write it, and "latin-1" for text that is not
    UTF-8. Files that contain zero bytes are not text.
    """
    with open(file, "rb") as stream, unpacked(stream) as plain:
        start, decoder = plain.read(512), codecs.getincrementaldecoder("utf-8")()
        if start.lstrip(_MARK + b" \t\r\n").startswith(b"<"):  # XML declares its own
            return None
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
                found = "latin-1"
        try:
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            found = "latin-1"
    return found


def _head(stream, encoding):
    """The comments at the beginning of a text, and the line behind them."""
    found = bytearray()
    for line in stream:
        found += line
        line = line.removeprefix(_MARK) if len(found) == len(line) else line
        if line.strip() and not line.lstrip().startswith(b"#"):
            break
    lines = found.decode(encoding, errors="replace").removeprefix("\ufeff").splitlines()
    lines = [line for line in lines if line.strip()]
    end = next((i for i, line in enumerate(lines) if not _COMMENT.match(line)), len(lines))
    return lines[: end + 1]


def _check_ecsv(lines):
    check_yaml(textwrap.dedent("\n".join(lines)))
    for column in get_header_from_yaml(lines)["datatype"]:
        kind, array = str(column["datatype"]), str(column.get("subtype", ""))
        if not _ECSV_TYPE.fullmatch(kind):
            raise ValueError(f"its header says datatype: {kind[:40]}")
        sides = [side for side in json.loads(array[array.find("[") :] if "[" in array else "[]") if side is not None]
        if not all(isinstance(side, int) and side >= 0 for side in sides) or math.prod(sides) > _MOST_NUMBERS:
            raise ValueError(f"its header says that a column holds arrays of the shape {array[:40]}")


def _check_xml(text):
    if _VOTABLE.search(text):
        if _DECLARATION.search(text):
            raise ValueError("it declares entities or attributes, which may stand for more than any memory")
        if _STREAM.search(text):
            raise ValueError("its data are in another file or at an address (STREAM href); give that file")
    depth = deepest = 0
    for tag in _TAGS.finditer(text):
        depth += -1 if b"/" in tag[0] else 1
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        raise ValueError(f"it is nested in {deepest} levels")
    for size in _XML_SIZE.findall(text):
        if math.prod(int(side[:20]) for side in re.findall(rb"\d+", size)) > max(len(text), 1024):
            raise ValueError(f"it says arraysize = {size[:40].decode()!r}, which is more than it has room for")
    for unit in _XML_UNIT.findall(text):
        check_unit(unit.decode("utf-8", errors="replace"))


def _decoded(data):
    """Text in UTF-8, or UTF-16 with its mark, or else in Latin-1, with a warning."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        if b"\0" in data:
            raise ValueError("it is no text") from error
        warn("regions: the file is not in UTF-8; it is read as Latin-1")
        return data.decode("latin-1")


def region_text(file, kind):
    """The text of a file of regions; ValueError for one over which its reader would take for ever."""
    with open(file, "rb") as stream, unpacked(stream) as plain:
        text = _decoded(plain.read()).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if kind == "crtf" and not text.startswith("#CRTF"):
        raise ValueError("it does not begin with #CRTF")
    for line in text.split("\n"):
        rest = _PAIR.sub("", line) if kind == "crtf" else line.partition(")")[2] or line
        if len(line) > 200 and (len(rest) > _LONGEST[kind] or _LONG_WORD.search(line)):
            raise ValueError(f"it has a line of {len(line)} letters that describes no region: {line[:40]!r} ...")
    return text
