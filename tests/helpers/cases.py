"""Tables of cases within one test."""

import functools
import inspect


def each_case(names, table):
    """
    Run a test in a loop over the rows of a table and note the row that fails.

    The arguments are those of ``pytest.mark.parametrize``, but all rows are one test and share its fixtures.
    """
    columns = names.replace(",", " ").split() if isinstance(names, str) else names
    rows = [row if len(columns) > 1 else (row,) for row in table]

    def decorate(test):
        @functools.wraps(test)
        def loop(**fixtures):
            assert rows
            for row in rows:
                case = dict(zip(columns, row, strict=True))
                try:
                    test(**fixtures, **case)
                except BaseException as error:  # the failure of pytest.raises is no Exception
                    error.add_note(f"in the case {case}")
                    raise

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in columns]
        loop.__signature__ = signature.replace(parameters=left)
        return loop

    return decorate
