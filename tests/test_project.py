"""What holds for the project as a whole: layers, sizes, documents that tell the truth, examples that run."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

import regulars
from regulars import show
from regulars.cli import cli
from regulars.core.settings import Settings, sections
from regulars.models.registry import MODELS, model_class

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
BINARY = {".png", ".ico"}
PLACES = ("/" + "home/", "/" + "Users/", "/" + "work/", "C:" + "\\")  # put together, so that this file is clean
CHOICE = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LIBRARY, _, SHOP = README.partition("## Your own shop")
LIBRARY_PYTHON, SHOP_PYTHON, MODELS_PYTHON = (
    re.findall(r"```python\n(.*?)```", text, re.DOTALL) for text in (LIBRARY, SHOP, CHOICE)
)


def tracked() -> list[Path]:
    """Files of the project that Git knows, or would with the next commit."""
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in done.stdout.splitlines() if (ROOT / name).is_file()]


def run(*words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=cwd, capture_output=True, text=True, check=False)


def prints(source: str) -> list[int]:
    """Lines that call `print`."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def places(text: str) -> list[str]:
    """Paths of a particular machine in a text."""
    return [place for place in PLACES if re.search(rf"(?<![\w.}}]){re.escape(place)}", text)]


def test_imports_run_one_way() -> None:
    done = run("-c", "import sys; from importlinter.cli import lint_imports_command as lint; sys.exit(lint())")
    assert done.returncode == 0, done.stdout


def test_no_file_is_long() -> None:
    assert {path.name: n for path in SOURCES if (n := len(path.read_text("utf-8").splitlines())) > 400} == {}


def test_the_library_prints_nothing() -> None:
    assert prints("def f():\n    print(1)") == [2]
    assert {path.name: found for path in SOURCES if (found := prints(path.read_text("utf-8")))} == {}


def test_types_are_told_to_others() -> None:
    assert (Path(regulars.__file__).parent / "py.typed").exists()


def test_no_place_of_a_machine_is_named() -> None:
    assert places("see " + PLACES[0] + "ann") == [PLACES[0]]
    found = {
        str(path.relative_to(ROOT)): named
        for path in tracked()
        if path.suffix not in BINARY and (named := places(path.read_text("utf-8", errors="replace")))
    }
    assert found == {}


def test_the_settings_reference_is_fresh() -> None:
    text = (ROOT / "docs" / "settings.md").read_text("utf-8")
    assert text == show.settings_reference(), "run `make docs`"
    for section, kind in sections().items():
        part = text.partition(f"## [{section}]")[2].partition("\n## ")[0]
        assert {spec.name for spec in fields(kind) if f"| `{spec.name}` |" not in part} == set()


def test_every_command_is_explained() -> None:
    names = {command.name or command.callback.__name__ for command in cli.registered_commands if command.callback}
    assert len(names) > 5
    assert {name for name in names if f"| `regulars {name}" not in README} == set()


def test_documents_name_only_commands_that_are_there() -> None:
    names = {command.name or command.callback.__name__ for command in cli.registered_commands if command.callback}
    for path in DOCUMENTS:
        assert set(re.findall(r"(?:^|`)regulars ([a-z]+)", path.read_text("utf-8"), re.MULTILINE)) <= names


def test_links_of_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        targets = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#]+)\)", path.read_text("utf-8"))
        assert [target for target in targets if not (path.parent / target).exists()] == []


def test_models_of_the_settings_are_registered() -> None:
    for name in Settings().train.models:
        assert model_class(name)
    assert {name for name in MODELS if f"`{name}`" not in CHOICE} == set()


def test_the_library_example_runs() -> None:
    assert len(LIBRARY_PYTHON) == 2
    assert len([line for line in LIBRARY_PYTHON[0].splitlines() if line.strip()]) == 5
    done = run("-W", "error", "-c", LIBRARY_PYTHON[0] + "\nassert items.shape == (1, 2) and items[0, 0] == 1, items")
    assert done.returncode == 0, done.stderr


def test_the_example_of_a_table_runs_and_says_what_it_tells() -> None:
    checks = (
        "\nassert table.column_names == ['customer', 'sku', 'score', 'rank'], table"
        "\nassert table['sku'].to_pylist() == ['cup', 'pot', 'cup'], table"
        "\nassert set(frame['model'].to_pylist()) == {'popular', 'item-knn', 'ease'}, frame"
    )
    done = run("-W", "error", "-c", LIBRARY_PYTHON[1] + checks)
    assert done.returncode == 0, done.stderr
    told = re.findall(r"print\(model\)  # (.*)", LIBRARY_PYTHON[1])
    assert done.stdout.splitlines()[0] == told[0]
    assert "| model " in done.stdout


def test_the_example_of_sequences_runs() -> None:
    assert len(MODELS_PYTHON) == 1
    done = run("-W", "error", "-c", MODELS_PYTHON[0])
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", SHOP_PYTHON)
def test_the_shop_example_runs(block: str, tmp_path: Path) -> None:
    made = run("-m", "regulars", "init", "myshop", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    done = run("-W", "error", "-c", block, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run("-m", "regulars", "profile", "ann", "--home", "myshop", cwd=tmp_path).stdout.startswith("ann\n")


def test_the_bench_lists_what_it_can_do() -> None:
    done = run("bench/run.py", "--help")
    assert done.returncode == 0
    for name in ("online-retail", "ml1m-ncf", "practice-shop", "crash", "stages"):
        assert name in done.stdout


def test_the_bench_suggests_the_nearest_name() -> None:
    done = run("bench/run.py", "crush")
    assert done.returncode == 2
    assert "'crash'" in done.stderr


def test_constraints_are_bare_pins() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
