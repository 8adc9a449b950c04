"""
Selection of the rows of a table: flags, and conditions such as ``"z > 0.6 & mag < 24"``.

A condition is undefined in rows where a value is missing (masked or NaN): neither it nor its negation selects them.
"""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.table import Column
from astropy.utils.masked import Masked

from .._utils.progress import warn
from .flags import Answers, flag_of, flags, texts, unmasked
from .quantities import numbers

if TYPE_CHECKING:
    from astropy.table import Table

    from .._utils.typing import Bools

_TOKEN = re.compile(
    r"\s*(?:`(?P<column>[^`]+)`|'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\""
    r"|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?!\w)|(?P<word>[^\W\d]\w*)"
    r"|(?P<operator>&&?|\|\|?|[=!<>]=|[<>~!()\[\],+*/-])|(?P<end>$))"
)
_ONE_VALUE = re.compile(r"( in \(\s*[-+]?\s*_\d+\s*)\)")  # "in ('a')", which Python does not read as a list
_LOGIC = {"&": " and ", "&&": " and ", "|": " or ", "||": " or ", "~": " not ", "!": " not "}
_COMPARE: dict[type, Any] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_COMPUTE: dict[type, Any] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST = 2000  # characters of a condition
EXAMPLES = "'good', 'not bad', 'tomo == 1' or 'z > 0.6 & mag < 24'"


class NothingSelected(ValueError):
    """Error for a selection of no row."""


def selected(select: Any, table: Any, name: str = "select") -> Bools:
    """
    Return which rows ``(n,)`` of a table are selected.

    ``select`` is a condition as described in `~astro_massmap.ShearCatalog.from_table`, where names of columns may also
    be in quotes and comparisons bind tighter than ``and``, ``or`` and ``not``; or flags ``(n,)``, see `flags`. A
    warning counts the rows where a value is missing. TypeError or ValueError, which begin with ``name``, are raised if
    the condition is malformed, a column is missing or of the wrong type, or no row is selected.
    """
    if isinstance(select, str):
        answers, given = _Condition(select, table, name).answers, repr(select)
    else:
        answers, given = flags(select, name), "the array"
        if len(answers.true) != len(table):
            raise ValueError(f"{name}: has {len(answers.true)} values for a table of {len(table)} rows")
    missing = int(answers.missing.sum())
    lost = f"{missing} of {len(table)} rows, where a value is missing (masked or NaN)" if missing else ""
    if not answers.true.any():
        raise NothingSelected(f"{name}: {given} selects no row of {len(table)}" + (f"; {lost}" if lost else ""))
    if lost:
        warn(f"{name}: {given} does not select {lost}", stacklevel=4)
    return answers.true


def as_index(item: Any, catalog: Any) -> Any:
    """Return the index of a catalogue as a plain array; columns, masked arrays and 0 and 1 for each row are flags."""
    if isinstance(item, Column | np.ma.MaskedArray | Masked):
        return selected(item, catalog, "the selection")
    index = np.asarray(item)
    if index.dtype.kind in "iu" and index.shape == (len(catalog),) and index.size > 2 and not (index & ~1).any():
        return index.astype(bool)
    return index


@dataclass(frozen=True)
class _Quoted:
    text: str


@dataclass(frozen=True)
class _Column:
    name: str


class _Condition:
    """Condition evaluated on a table, with the result ``answers``."""

    def __init__(self, text: str, table: Table, name: str) -> None:
        self.text, self.table, self.name = text, table, name
        self.operands: list[Any] = []
        if text.strip() in table.colnames:
            self.answers = self._flags(text.strip())
            return
        if not 0 < len(text.strip()) <= _LONGEST:
            raise ValueError(f"{name}: needs a condition of 1 to {_LONGEST} characters, such as {EXAMPLES}")
        try:
            tree = ast.parse(self._as_python(), mode="eval")
            with np.errstate(all="ignore"):
                self.answers = self._answers(tree.body)
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise self._error("it is incomplete or malformed") from error

    def _error(self, reason: str) -> ValueError:
        return ValueError(f"{self.name}: cannot read {self.text!r}: {reason}. Examples of conditions: {EXAMPLES}")

    # ---- from text to a Python expression with numbered operands

    def _as_python(self) -> str:
        """Return the condition as a Python expression with the operands ``_0``, ``_1``, ..."""
        parts, at = [], 0
        while at < len(self.text):
            found = _TOKEN.match(self.text, at)
            if found is None:
                rest = self.text[at:].lstrip()
                hint = "; write == for equality" if rest.startswith("=") else self._backticks(at)
                raise self._error(f"{rest[:12]!r} is not understood{hint}")
            kind, token = found.lastgroup, found[found.lastgroup or 0]
            if kind == "operator":
                parts.append(_LOGIC.get(token, token))
            elif kind == "word" and token.lower() in ("and", "or", "not", "in") and token not in self.table.colnames:
                parts.append(f" {token.lower()} ")
            elif kind != "end":
                parts.append(f" _{len(self.operands)} ")
                self.operands.append(self._operand(kind, token, at))
            at = found.end()
        return _ONE_VALUE.sub(r"\1,)", "".join(parts)).strip()

    def _backticks(self, at: int) -> str:
        """Return advice if the text continues with a column name that needs backticks, otherwise an empty text."""
        rest = self.text[at:].lstrip()
        names = [name for name in self.table.colnames if rest.startswith(name) and not name.isidentifier()]
        return f"; write the column as `{max(names, key=len)}`, in backticks" if names else ""

    def _operand(self, kind: str | None, token: str, at: int) -> Any:
        if kind == "number":
            return int(token) if token.isdecimal() else float(token)
        if kind in ("single", "double"):
            return _Quoted(token)
        if token not in self.table.colnames:
            if kind == "word" and token.lower() in ("true", "false"):
                return token.lower() == "true"
            raise ValueError(f"{self.name}: no column {token!r} among {self.table.colnames}{self._backticks(at)}")
        return _Column(token)

    # ---- evaluation of the expression

    def _answers(self, node: ast.AST) -> Answers:
        if isinstance(node, ast.BoolOp):
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return reduce(join, (self._answers(value) for value in node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self._answers(node.operand)
        if isinstance(node, ast.Compare):
            return self._compared(node)
        operand = self._value(node) if isinstance(node, ast.Name) else None
        if isinstance(operand, _Quoted) and operand.text in self.table.colnames:
            operand = _Column(operand.text)
        if isinstance(operand, _Column):
            return self._flags(operand.name)
        raise self._error("one of its parts is neither a comparison nor a column of flags")

    def _compared(self, node: ast.Compare) -> Answers:
        lists = [isinstance(side, ast.Tuple | ast.List) for side in node.comparators]
        is_in = [isinstance(op, ast.In | ast.NotIn) for op in node.ops]
        if lists != is_in or (any(is_in) and len(node.ops) > 1):
            raise self._error(
                "'in' needs a list such as (1, 2) or ('a',), and cannot be chained with other comparisons"
            )
        if any(is_in):
            column = self._columns_in_quotes([self._value(node.left)])[0]
            choices = node.comparators[0].elts  # type: ignore[attr-defined]
            if not choices:
                raise self._error("the list is empty")
            found = reduce(operator.or_, (self._pair(column, self._value(c), operator.eq) for c in choices))
            return ~found if isinstance(node.ops[0], ast.NotIn) else found
        if any(type(op) not in _COMPARE for op in node.ops):
            raise self._error("comparisons need one of ==, !=, <, <=, >, >= and in")
        sides = self._columns_in_quotes([self._value(side) for side in (node.left, *node.comparators)])
        pairs = zip(sides, node.ops, sides[1:], strict=False)
        return reduce(operator.and_, (self._pair(left, right, _COMPARE[type(op)]) for left, op, right in pairs))

    def _columns_in_quotes(self, sides: list[Any]) -> list[Any]:
        """Replace quoted names of columns by columns, in comparisons that have no other column."""
        if any(isinstance(side, _Column | tuple) for side in sides):
            return sides
        quoted = [isinstance(side, _Quoted) and side.text in self.table.colnames for side in sides]
        if sum(quoted) > 1:
            raise self._error("it has several columns in quotes; write the names of columns in backticks")
        return [_Column(side.text) if q else side for side, q in zip(sides, quoted, strict=True)]

    def _pair(self, left: Any, right: Any, compare: Any) -> Answers:
        pair = (left, right)
        if not any(isinstance(side, _Column | tuple) for side in pair):
            raise self._error("a comparison needs a column")
        equality = compare in (operator.eq, operator.ne)
        if any(self._is_bool(side) for side in pair):
            left, right = (self._as_bool(side) if isinstance(side, _Quoted) else side for side in pair)
            pair = (left, right)
        if any(isinstance(side, bool) for side in pair):
            column = left if isinstance(left, _Column) else right
            if not (equality and isinstance(column, _Column)):
                raise self._error("flags can only be compared by == and !=, and with a column")
            answers = self._flags(column.name)
            return answers if (right if column is left else left) is (compare is operator.eq) else ~answers
        if all(isinstance(side, _Quoted) or self._is_text(side) for side in pair):
            if not equality:
                raise self._error("text can only be compared by == and !=")
            (a, a_missing), (b, b_missing) = (self._text(side) for side in pair)
        else:
            (a, a_missing), (b, b_missing) = (self._numbers(side) for side in pair)
        missing = np.broadcast_to(a_missing | b_missing, len(self.table)).copy()
        return Answers(compare(a, b) & ~missing, missing)

    def _value(self, node: ast.AST) -> Any:
        """Return an operand, or computed values ``(n,)`` and the mask of missing ones."""
        if isinstance(node, ast.Name):
            return self.operands[int(node.id[1:])]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            value = self._value(node.operand)
            if isinstance(value, int | float) and not isinstance(value, bool):
                return -value if isinstance(node.op, ast.USub) else value
            data, missing = self._numbers(value)
            if np.asarray(data).dtype.kind != "f":  # unsigned integers have no negative
                data = np.asarray(data, float)
            return (-data if isinstance(node.op, ast.USub) else data), missing
        elif isinstance(node, ast.BinOp) and type(node.op) in _COMPUTE:
            (a, a_missing), (b, b_missing) = (self._numbers(self._value(side)) for side in (node.left, node.right))
            result = np.asarray(_COMPUTE[type(node.op)](np.asarray(a, float), np.asarray(b, float)))
            return result, a_missing | b_missing | np.isnan(result)
        raise self._error("only columns, numbers and quoted texts can be compared")

    def _flags(self, column: str) -> Answers:
        return flags(self.table[column], f"{self.name}: column {column!r}")

    def _is_text(self, side: Any) -> bool:
        return isinstance(side, _Column) and getattr(self.table[side.name], "dtype", np.dtype(float)).kind in "SUO"

    def _is_bool(self, side: Any) -> bool:
        if not isinstance(side, _Column):
            return False
        kind = getattr(self.table[side.name], "dtype", np.dtype(float)).kind
        values = self.table[side.name].tolist() if kind == "O" else []
        return kind == "b" or (kind == "O" and all(v is None or isinstance(v, bool | np.bool_) for v in values))

    def _as_bool(self, quoted: _Quoted) -> bool:
        flag = flag_of(quoted.text)
        if not isinstance(flag, bool):
            raise self._error(f"a column of bools is compared with {quoted.text!r}; write == True or == False")
        return flag

    def _text(self, side: Any) -> tuple[Any, Any]:
        if isinstance(side, _Quoted):
            return side.text.strip(), np.False_
        data, mask = unmasked(self.table[side.name], f"{self.name}: column {side.name!r}")
        return texts(data, mask), mask

    def _numbers(self, side: Any) -> tuple[Any, Any]:
        """Return numbers in the type of the column, so that integers are exact, and the mask of missing ones."""
        if isinstance(side, _Column):
            name = f"{self.name}: column {side.name!r}"
            data, mask = unmasked(self.table[side.name], name)
            if data.dtype.kind not in "iuf":
                data, mask = numbers(np.ma.array(data, mask=mask), name)
            return data, mask | (data != data)
        if isinstance(side, _Quoted):
            try:
                return int(side.text) if side.text.strip().isdecimal() else float(side.text), np.False_
            except ValueError:
                raise self._error(f"{side.text!r} is compared with numbers, but is not a number") from None
        if isinstance(side, bool):
            raise self._error("true and false are not numbers")
        return side if isinstance(side, tuple) else (side, np.False_)
