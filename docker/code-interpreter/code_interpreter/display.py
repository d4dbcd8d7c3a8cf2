"""IPython extension: tables, charts and plain data come in E2B's formats beside IPython's own."""

from __future__ import annotations

import sys
from typing import Any

from IPython.core.formatters import BaseFormatter, JSONFormatter
from IPython.core.interactiveshell import InteractiveShell
from traitlets import ObjectName, Unicode

from code_interpreter.pictures import show_saved


class TableFormatter(BaseFormatter):
    """The columns of a pandas table."""

    format_type = Unicode("e2b/data")
    print_method = ObjectName("_repr_e2b_data_")
    _return_type = (dict, str)

    def __call__(self, value: object) -> Any:
        """Return the form of a value, or None where it has none."""
        pandas = sys.modules.get("pandas")
        if pandas is None or not isinstance(value, pandas.DataFrame):
            return super().__call__(value)
        columns = value.to_dict(orient="list")
        return {str(name): [_format(cell, pandas) for cell in cells] for name, cells in columns.items()}


def _format(cell: object, pandas: Any) -> object:
    return cell.isoformat() if isinstance(cell, pandas.Timestamp) else cell


class ChartFormatter(BaseFormatter):
    """What a matplotlib figure shows, as data."""

    format_type = Unicode("e2b/chart")
    print_method = ObjectName("_repr_e2b_chart_")
    _return_type = (dict, str)

    def __call__(self, value: object) -> Any:
        """Return the form of a value, or None where it has none."""
        matplotlib = sys.modules.get("matplotlib.figure")
        if matplotlib is None or not isinstance(value, matplotlib.Figure):
            return super().__call__(value)
        from e2b_charts import chart_figure_to_dict  # a second's import that most cells never need

        try:
            return chart_figure_to_dict(value)
        except Exception:
            return {}  # a figure that the library cannot read still has its picture


class PlainFormatter(JSONFormatter):
    """Lists and dictionaries, whatever numbers are in them."""

    def __call__(self, value: object) -> Any:
        """Return the form of a value, or None where it has none."""
        if not isinstance(value, list | dict):
            return super().__call__(value)
        import orjson

        try:
            packed = orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        except TypeError:
            return super().__call__(value)
        return orjson.loads(packed), {"expanded": True}


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the formatters to a kernel's shell; called by IPython."""
    formatters = shell.display_formatter.formatters
    for kind in (TableFormatter, ChartFormatter):
        formatter = kind(parent=shell.display_formatter)
        formatters[formatter.format_type] = formatter
    formatters["application/json"] = PlainFormatter(parent=shell.display_formatter)
    show_saved()
