"""An immutable table of records, small enough to be printed, that turns into a pandas DataFrame when asked."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Table"]

Record = TypeVar("Record")


class Table(tuple[Record, ...]):
    """A tuple of dataclass instances of one type."""

    __slots__ = ()

    def to_pandas(self) -> pd.DataFrame:
        """Return the records as a DataFrame, one column a field.

        Raises:
            ImportError: pandas is not installed (``pip install 'perfkit[tables]'``).
        """
        import pandas as pd  # noqa: PLC0415  heavy, and only needed here

        records: list[dict[str, Any]] = [asdict(record) for record in self]  # type: ignore[call-overload]
        return pd.DataFrame.from_records(records)
