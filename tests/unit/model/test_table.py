from __future__ import annotations

import pandas as pd

from perfkit.model.table import Table
from tests.diagnoses import loader_bound


def test_a_table_becomes_a_data_frame_with_a_column_for_each_field() -> None:
    attribution = loader_bound().attribution
    for table in (attribution.kernels, attribution.blame, attribution.timelines, attribution.timelines[0].steps):
        frame = table.to_pandas()
        assert list(frame.columns) == list(type(table[0])._fields)
        assert len(frame) == len(table)
    assert attribution.kernels.to_pandas()["device_ns"].sum() == 93_000_000


def test_an_empty_table_becomes_an_empty_data_frame() -> None:
    assert isinstance(Table().to_pandas(), pd.DataFrame)
    assert Table().to_pandas().empty
