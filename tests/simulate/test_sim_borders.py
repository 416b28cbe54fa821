"""The practice shop and the product share nothing but `core` and `events.schema`."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import regulars
import regulars.simulate

SHARED = ("regulars.core", "regulars.events.schema")
ROOT = Path(regulars.__file__).parent
SIMULATE = sorted(path for path in (ROOT / "simulate").glob("*.py"))
PRODUCT = sorted(path for folder in ("core", "events", "clean", "profiles", "models", "rank", "feedback", "serve")
                 for path in (ROOT / folder).rglob("*.py"))  # fmt: skip


def imported(source: str) -> set[str]:
    """Modules of this package that a source imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "regulars"}


def allowed(name: str) -> bool:
    return any(f"{name}.".startswith(f"{root}.") for root in (*SHARED, "regulars.simulate"))


def constants(source: str) -> dict[str, str]:
    """Upper-case names given a container or a text at module level, with their value's form."""
    return {
        target.id: ast.dump(node.value)
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


def functions(source: str) -> dict[str, str]:
    """Bodies of all functions that do more than return, by form."""
    return {
        "\n".join(ast.dump(line) for line in node.body if not isinstance(line, ast.Expr)): node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef) and len(node.body) > 2
    }


def texts(paths: list[Path]) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in paths]


@pytest.mark.parametrize("path", SIMULATE, ids=lambda path: path.name)
def test_simulate_imports_core_and_the_schema_alone(path: Path) -> None:
    assert {name for name in imported(path.read_text(encoding="utf-8")) if not allowed(name)} == set()


@pytest.mark.parametrize("path", SIMULATE, ids=lambda path: path.name)
def test_every_object_comes_from_there(path: Path) -> None:
    module = importlib.import_module(f"regulars.simulate.{path.stem}".removesuffix(".__init__"))
    for value in vars(module).values():
        home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        if isinstance(home, str) and home.startswith("regulars."):
            assert allowed(home), f"{path.name} holds {value!r}"


def test_the_product_never_looks_into_the_practice_shop() -> None:
    for source in texts(PRODUCT):
        assert not {name for name in imported(source) if name.startswith("regulars.simulate")}


def test_no_function_or_constant_is_copied() -> None:
    ours = texts(SIMULATE)
    theirs = texts([path for path in PRODUCT if "core" not in path.relative_to(ROOT).parts])
    for kind in (functions, constants):
        mine = {form for source in ours for form in (kind(source).values() if kind is constants else kind(source))}
        other = {form for source in theirs for form in (kind(source).values() if kind is constants else kind(source))}
        assert mine
        assert not mine & other


def test_the_checks_see_what_they_must() -> None:
    assert not allowed("regulars.models.popular")
    assert not allowed("regulars.corelike")
    assert imported("def f():\n    from regulars.rank import slates") == {"regulars.rank.slates"}
    body = "def f(x):\n    y = x\n    y += 1\n    return y\n"
    assert functions(body).keys() == functions(body.replace("def f", "def g")).keys()  # a copy under another name
    assert functions(body).keys() != functions(body.replace("+= 1", "+= 2")).keys()
    assert constants("A = (1, 2)")["A"] == constants("B = (1, 2)")["B"]
