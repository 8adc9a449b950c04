"""The order of the folders, and imports inside of functions, read from the source."""

import ast
from functools import cache
from pathlib import Path

import astro_massmap

PACKAGE = Path(astro_massmap.__file__).parent
# a folder imports from itself and from those before it
ORDER = ["_version", "_utils", "inference", "_io", "theory", "_sky", "priors", "analysis", "training", "methods"]
ORDER += ["plotting", "maps", "survey", "simulation", "datasets", "validation", "cli", "__main__"]
HEAVY = {
    "astropy",
    "matplotlib",
    "regions",
    "reproject",
    "torch",
}  # packages that parts of this one do without, or load late


def name_of(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


@cache
def imports_of(module):
    """Return the imports of a module: name, whether in a function, whether for type checkers alone, and line."""
    found = []

    def visit(node, inside, typing):
        if isinstance(node, ast.Import):
            found.extend((alias.name, False, inside, typing, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".") if module else []
            if FILES[module].name != "__init__.py":
                base = base[:-1]
            base = base[: len(base) - node.level + 1] if node.level else []
            target = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                below = f"{target}.{alias.name}".lstrip(".")
                own = bool(node.level)
                found.append((below if own and below in FILES else target, own, inside, typing, node.lineno))
        inside = inside or isinstance(node, ast.FunctionDef | ast.Lambda)
        typing = typing or (isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            visit(child, inside, typing)

    visit(ast.parse(FILES[module].read_text(encoding="utf-8")), False, False)
    return found


def loaded_by(module):
    """Return the heavy packages that are loaded with a module."""
    heavy, seen, left = set(), set(), [module]
    while left:
        this = left.pop()
        if this in seen:
            continue
        seen.add(this)
        left.extend({".".join(this.split(".")[:n]) for n in range(1, this.count(".") + 1)} & FILES.keys())
        for name, own, inside, typing, _ in imports_of(this):
            if not inside and not typing:
                if own:
                    left.append(name)
                else:
                    heavy |= {name.partition(".")[0]} & HEAVY
    return heavy | ({"matplotlib"} if "regions" in heavy else set())


def own_imports():
    for module in FILES.keys() - {""}:
        for name, own, inside, typing, line in imports_of(module):
            if own:
                yield module, name, inside, typing, f"{FILES[module].relative_to(PACKAGE)}:{line}"


def test_a_folder_imports_only_from_itself_and_from_those_before_it():
    rank = {folder: i for i, folder in enumerate(ORDER)}
    assert {module.partition(".")[0] for module in FILES} - {""} == {*ORDER}
    wrong = [
        f"{where} imports {name}"
        for module, name, *_, where in own_imports()
        if rank[module.partition(".")[0]] < rank[name.partition(".")[0]]
    ]
    assert wrong == []


def test_an_import_inside_of_a_function_keeps_a_heavy_package_from_being_loaded():
    """The shell is excepted: it imports what a command needs."""
    idle = [
        f"{where} imports {name}"
        for module, name, inside, _, where in own_imports()
        if inside and not module.startswith("cli") and loaded_by(name) <= loaded_by(module)
    ]
    assert idle == []
