"""A contract of import-linter: what another folder imports stands in the face of its folder.

The face is `__init__.py`, with `__init__.pyi` beside it where the names are loaded lazily. A file of a folder may be
imported from outside only where the face lists it in `__all__`. `lint-imports` reads this from pyproject.toml.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from importlinter import Contract, ContractCheck, fields, output


class FacesContract(Contract):
    """`package` is the root; each of its folders has a face."""

    package = fields.StringField()

    def check(self, graph: Any, verbose: bool) -> ContractCheck:
        root = str(self.package)
        folders = {m for m in graph.find_children(root) if (Path(*m.split(".")) / "__init__.py").exists()}
        broken = []
        for folder in sorted(folders):
            listed = names_of(Path(*folder.split(".")))
            hidden = {m for m in graph.find_descendants(folder) if m.removeprefix(folder + ".") not in listed}
            for module in sorted(hidden):
                for importer in sorted(graph.find_modules_that_directly_import(module)):
                    if importer != folder and not importer.startswith(folder + "."):
                        broken.append((importer, module, folder))
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        for importer, module, folder in check.metadata["broken"]:
            output.print_error(f"{importer} imports {module}: import it from {folder}, whose face must list it.")
        output.new_line()


def names_of(folder: Path) -> set[str]:
    """What `__all__` of the face lists."""
    stub = folder / "__init__.pyi"
    face = stub if stub.exists() else folder / "__init__.py"
    for node in ast.parse(face.read_text()).body:
        if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()
