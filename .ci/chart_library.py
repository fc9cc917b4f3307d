"""Fetches the page's chart library from npm again, by the version and hash that VENDORED.toml names."""

import base64
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ASSETS = Path(__file__).parents[1] / "perfkit/report/page/assets"


def main() -> None:
    """Replace the files; nothing is written unless the package is the one that is named."""
    wanted = tomllib.loads((ASSETS / "VENDORED.toml").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        package = f"{wanted['package']}@{wanted['version']}"
        subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True)  # it knows the user's registry
        data = next(Path(folder).glob("*.tgz")).read_bytes()
    found = f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}"
    if found != wanted["integrity"]:
        sys.exit(f"{package} has hash {found}, not {wanted['integrity']}")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for here, there in wanted["files"].items():
            member = archive.extractfile(f"package/{there}")
            if member is None:
                sys.exit(f"{package} has no file {there}")
            (ASSETS / here).write_bytes(member.read())


if __name__ == "__main__":
    main()
