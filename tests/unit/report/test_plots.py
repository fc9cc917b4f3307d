from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from perfkit.errors import MissingExtraError, UsageError
from perfkit.pipeline.diagnose import diagnose
from perfkit.report import plots
from tests import diagnoses
from tests.unit.cli.command_line import trace as sample

if TYPE_CHECKING:
    from perfkit.model.diagnosis import Diagnosis

PNG = b"\x89PNG\r\n\x1a\n"


def names(paths: list[str]) -> set[str]:
    return {Path(path).name for path in paths}


def both(*stems: str) -> set[str]:
    return {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}


def test_the_main_pictures_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    written = plots.draw(diagnose(sample(), picture=True), str(tmp_path / "made" / "here"))
    assert names(written) == both("where", "steps", "operators", "timeline")
    for path in map(Path, written):
        assert path.read_bytes().startswith(PNG if path.suffix == ".png" else b"<?xml")
        assert path.stat().st_size > 3000


@pytest.mark.parametrize(("name", "stems"), [("empty", ()), ("hostile", ("where", "kernels", "operators"))])
def test_nothing_and_hostile_names_are_drawn(name: str, stems: tuple[str, ...], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    diagnosis: Diagnosis = getattr(diagnoses, name)()
    written = plots.draw(diagnosis, str(tmp_path))
    assert names(written) >= both(*stems)
    for path in tmp_path.glob("*.svg"):
        assert "<script" not in path.read_text("utf-8")


def test_a_folder_that_is_a_file_and_a_missing_package_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        plots.draw(diagnoses.loader_bound(), str(file))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"perfkit\[plots\]"):
        plots.draw(diagnoses.loader_bound(), str(tmp_path))
