"""Keep the outputs of executed chapters in ``chapters/``: without papermill's cell and marks, and without stderr.

python tests/store_outputs.py build/chapters/mini/*.ipynb
"""

import sys
from pathlib import Path

import nbformat

CHAPTERS = Path(__file__).resolve().parents[1] / "chapters"


def stored(executed):
    """An executed notebook as it is committed."""
    nb, count = executed, 0
    nb.cells = [cell for cell in nb.cells if "injected-parameters" not in cell.metadata.get("tags", [])]
    for mark in ("papermill", "genre_utils"):
        nb.metadata.pop(mark, None)
    for cell in nb.cells:
        for mark in ("papermill", "execution"):
            cell.metadata.pop(mark, None)
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = count
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
    return nb


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = CHAPTERS / Path(name).name
        source = nbformat.read(path, as_version=4)
        made = stored(nbformat.read(name, as_version=4))
        assert [cell.source for cell in made.cells] == [cell.source for cell in source.cells], f"{path.name} was changed since it ran"
        nbformat.write(made, path)
