"""The models that the SDK's tests name, read from their sources: as `model`, and where they ask for one by name."""

import ast
from pathlib import Path


def named(sources):
    """All of them, sorted."""
    return sorted({model for path in Path(sources).rglob("*.py") for model in read(ast.parse(path.read_text()))})


def read(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "model":
            yield from text(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "model":
                    yield from text(value)
        elif isinstance(node, ast.Call) and node.args and ".models." in ast.unparse(node.func):
            yield from text(node.args[0])


def text(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value:
        yield node.value
