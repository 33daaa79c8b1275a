"""The tree of the package: few names at the root, each name once, commands in files of their own."""

import ast
from collections import Counter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "duetto"
NOT_COUNTED = {"__init__.py", "__init__.pyi", "__main__.py", "py.typed", "__pycache__"}
AT_MOST = 12


def test_the_root_holds_at_most_twelve_names() -> None:
    names = {path.name for path in PACKAGE.iterdir()} - NOT_COUNTED
    assert len(names) <= AT_MOST, sorted(names)


def test_no_module_name_occurs_twice() -> None:
    names = Counter(path.stem for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []


def test_no_module_inside_a_room_is_private() -> None:
    private = [path for path in PACKAGE.rglob("_*.py") if path.stem not in ("__init__", "__main__")]
    assert private == []


def test_the_command_line_lists_commands_and_defines_none() -> None:
    tree = ast.parse((PACKAGE / "cli" / "__init__.py").read_text(encoding="utf-8"))
    commands = [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any("click.command" in ast.unparse(decorator) for decorator in node.decorator_list)
    ]
    assert commands == []
