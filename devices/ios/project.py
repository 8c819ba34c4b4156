"""The runner app's folder: the Swift and C sources as they are, and an Xcode project that lists them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from toolkit import store

APP = Path(__file__).parent / "app"
SOURCES = APP / "EdgeExportRunner"

TYPES = {
    ".swift": "sourcecode.swift",
    ".c": "sourcecode.c.c",
    ".h": "sourcecode.c.h",
    ".plist": "text.plist.xml",
}
"""Xcode's names of file types."""

_COMPILED = (".swift", ".c")
_IDS = (
    "app",
    "frameworks",
    "root",
    "group",
    "products",
    "target",
    "target_configurations",
    "sources",
    "project",
    "project_configurations",
    "project_release",
    "target_release",
)


def sources() -> list[Path]:
    """The app's source files, by name."""
    return sorted(p for p in SOURCES.iterdir() if p.suffix in TYPES)


def sha256() -> str:
    """Digest of all that the app is built from: which program took the numbers."""
    files = sorted(p for p in APP.rglob("*") if p.is_file())
    return store.key_of({p.relative_to(APP).as_posix(): store.sha256_file(p) for p in files})


def write(folder: Path) -> None:
    """Writes sources, ``Podfile`` and ``EdgeExportRunner.xcodeproj`` into ``folder``."""
    target = folder / SOURCES.name
    target.mkdir(parents=True)
    for path in sources():
        shutil.copyfile(path, target / path.name)
    shutil.copyfile(APP / "Podfile", folder / "Podfile")
    for template in sorted((APP / "EdgeExportRunner.xcodeproj").rglob("*.j2")):
        path = folder / template.relative_to(APP).with_suffix("")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render(template, **_listed()), encoding="utf-8")


def render(template: Path, **values: Any) -> str:
    """A template filled in; a name it does not get is an error, not an empty place."""
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)


def _listed() -> dict[str, Any]:
    files = [
        {
            "name": path.name,
            "type": TYPES[path.suffix],
            "ref": _identifier("ref", path.name),
            "build": _identifier("build", path.name),
            "compiled": path.suffix in _COMPILED,
        }
        for path in sources()
    ]
    return {
        "files": files,
        "compiled": [f for f in files if f["compiled"]],
        "ids": {name: _identifier("object", name) for name in _IDS},
    }


def _identifier(kind: str, name: str) -> str:
    """The 24 hex digits by which a project names its objects: the same for the same object."""
    return store.key_of([kind, name])[:24].upper()
