"""An immutable table of records, small enough to be printed, that turns into a pandas DataFrame when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from perfkit.errors import MissingExtraError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table"]

Record = TypeVar("Record", bound="NamedTuple")


class Table(tuple[Record, ...]):
    """A tuple of records (named tuples) of one type."""

    __slots__ = ()

    def to_pandas(self) -> pd.DataFrame:
        """Return the records as a DataFrame, one column a field.

        Raises:
            MissingExtraError: pandas is not installed (``pip install 'perfkit[tables]'``).
        """
        try:
            import pandas as pd  # heavy, and only needed here
        except ImportError as error:
            raise MissingExtraError("to_pandas()", "tables") from error

        return pd.DataFrame.from_records([record._asdict() for record in self])
