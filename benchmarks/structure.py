"""The house as it is: lines, floors, circles, and which way the imports point. `--picture FILE` draws it.

    python benchmarks/structure.py
    python benchmarks/structure.py --picture book/images/structure.png
"""

from __future__ import annotations

import argparse
import ast
from functools import cache
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "genre_utils"
#: From the roof down: a module may import from its own wing and from those below it.
WINGS = ("publish", "experiments", "study", "plots", "")
BASE = "everything else"


@cache
def modules() -> dict[str, Path]:
    """Dotted name without the package's -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name and name != "__main__":
            found[name] = path
    return found


@cache
def imports(path: Path, everywhere: bool = False) -> frozenset[str]:
    """Modules of the package that a file imports at its top, or anywhere in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return frozenset(name for node in (ast.walk(tree) if everywhere else tree.body) for name in named(node))


def named(node: ast.AST) -> set[str]:
    """Modules of the package that one import statement names."""
    known = modules()
    if isinstance(node, ast.Import):
        words = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        words = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        return set()
    found = set()
    for word in words:
        inside = word.removeprefix("genre_utils.") if word.startswith("genre_utils.") else ""
        while inside and inside not in known:
            inside = inside.rpartition(".")[0]
        found |= {inside} - {""}
    return found


def graph(everywhere: bool = False) -> dict[str, set[str]]:
    """Module -> modules that it imports. A package's own files do not count as importing the package."""
    return {
        name: {other for other in imports(path, everywhere) if other != name and not name.startswith(f"{other}.")}
        for name, path in modules().items()
    }


def circles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules that import each other, directly or on a detour."""

    def reach(start: str) -> set[str]:
        seen, todo = set(), [start]
        while todo:
            for other in edges.get(todo.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    reached = {name: reach(name) for name in edges}
    groups = {frozenset({a} | {b for b in edges if a in reached[b] and b in reached[a]}) for a in edges}
    return [set(group) for group in groups if len(group) > 1 or next(iter(group)) in reached[next(iter(group))]]


def floors(edges: dict[str, set[str]]) -> dict[str, int]:
    """Height of each module above those that import nothing (0)."""

    @cache
    def floor(name: str) -> int:
        return 1 + max((floor(other) for other in edges[name]), default=-1)

    return {name: floor(name) for name in edges}


def wing(name: str) -> str:
    """The wing a module lies in; "" for the ground. `chapter` is the door of the chapters, above what they use."""
    first = "experiments" if name == "chapter" else name.split(".")[0]
    return first if first in WINGS else ""


def upward(edges: dict[str, set[str]]) -> list[str]:
    """Imports that point from a lower wing to a higher one."""
    return [f"{a} -> {b}" for a, some in edges.items() for b in some if WINGS.index(wing(b)) < WINGS.index(wing(a))]


def lines_in_all() -> int:
    """Of the whole package, the two files at its door (``__init__``, ``__main__``) too."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py"))


def lines(names) -> int:
    known = modules()
    return sum(len(known[name].read_text(encoding="utf-8").splitlines()) for name in names)


def pulled_in(chapter: Path) -> set[str]:
    """Every module that a chapter pulls in, directly or through others, wherever the import stands."""
    edges, todo, seen = graph(everywhere=True), [], set()
    for cell in nbformat.read(chapter, as_version=4).cells:
        if cell.cell_type == "code":
            code = "\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith("%"))
            todo += [name for node in ast.walk(ast.parse(code)) for name in named(node)]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += [*edges[name], *([name.rpartition(".")[0]] if name.rpartition(".")[0] in edges else [])]
    return seen


def picture(file: Path) -> None:
    """Draw the modules floor by floor, each wing in its colour, with the imports as lines."""
    from matplotlib.figure import Figure
    from PIL import Image

    edges = graph()
    height, size = floors(edges), {name: lines([name]) for name in edges}
    colours = dict(zip(WINGS, ("#CC79A7", "#E69F00", "#009E73", "#56B4E9", "#BBBBBB"), strict=True))
    fig = Figure(figsize=(13, 9), layout="constrained")
    ax, place = fig.subplots(), {}
    for floor in range(max(height.values()) + 1):
        row = sorted((n for n in edges if height[n] == floor), key=lambda n: (WINGS.index(wing(n)), n))
        for i, name in enumerate(row):
            place[name] = ((i + 0.5) / len(row), floor + 0.28 * (i % 2))
    for a, some in edges.items():
        for b in some:
            ax.annotate("", place[b], place[a], arrowprops={"arrowstyle": "-", "color": "#00000022", "lw": 0.7})
    for name, (x, y) in place.items():
        box = {"boxstyle": "round", "facecolor": colours[wing(name)], "edgecolor": "none", "alpha": 0.9}
        ax.text(x, y, f"{name}\n{size[name]}", ha="center", va="center", fontsize=7, bbox=box)
    for i, (name, colour) in enumerate(colours.items()):
        ax.text(0.01 + 0.14 * i, max(height.values()) + 0.8, name or BASE, fontsize=10, bbox={"facecolor": colour, "edgecolor": "none"})
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.5, max(height.values()) + 1), ylabel="floor (arrows point down)", xticks=[])
    fig.savefig(file, dpi=110)
    Image.open(file).convert("RGB").quantize(64).save(file, optimize=True)


def main() -> None:
    """Print the figures; draw the picture if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    edges = graph()
    chapters = {path.stem: pulled_in(path) for path in sorted((ROOT / "chapters").glob("*.ipynb"))}
    share = {name: lines(one for one in used if wing(one) != "plots") for name, used in chapters.items()}
    together = {one for used in chapters.values() for one in used if wing(one) != "plots"}
    most = max(share, key=share.get)
    largest = max(edges, key=lambda name: lines([name]))
    for name in WINGS:
        inside = [one for one in edges if wing(one) == name]
        print(f"{name or BASE:16} {len(inside):3} modules {lines(inside):6} lines")
    print(f"all                  {lines_in_all():6} lines (aim 10,000)")
    print(f"a chapter pulls in   {share[most]:6} lines at most, figures aside (aim 6,000): {most}; all six {lines(together)}")
    print(f"largest module: {largest}, {lines([largest])} lines (aim 450)")
    print(f"floors: {max(floors(edges).values()) + 1 if not circles(edges) else 'none, there are circles'} (aim 9)")
    print(f"circles: {circles(edges) or 'none'}; with imports inside functions: {circles(graph(everywhere=True)) or 'none'}")
    print(f"imports that point up: {upward(graph(everywhere=True)) or 'none'}")
    if chosen.picture:
        picture(chosen.picture)


if __name__ == "__main__":
    main()
