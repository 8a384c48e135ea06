"""Configs that are read without running them."""

import ast
import re
from typing import Any


def read_literals(text: str, source: str, names: bool = False) -> dict[str, Any]:
    """Return the variables of a config as mmengine saves it in a checkpoint, if all of them are literals.

    `mmengine.Config.fromstring` would run the text.

    Args:
        text: assignments of literals and of ``dict(...)``.
        source: file of the text, for errors.
        names: whether names such as ``torch.nn.GELU``, which a config with classes is saved with, are texts.

    Raises:
        ValueError: the text holds anything else.

    Example:
        >>> read_literals("model = dict(depth=18, heads=[dict(type='A')])", 'epoch_1.pth')
        {'model': {'depth': 18, 'heads': [{'type': 'A'}]}}
    """
    try:
        variables = {}
        for statement in ast.parse(text).body:
            if not (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name)):
                raise ValueError(ast.unparse(statement))
            variables[statement.targets[0].id] = _literal(statement.value, names)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(
            f'the config in {source} is not made of plain values ({error}) and is not run; give the config as a file'
        ) from error
    return variables


_NAME = re.compile(r'\w+(\.\w+)*')


def _literal(node: ast.expr, names: bool) -> Any:
    match node:
        case ast.List(elts):
            return [_literal(element, names) for element in elts]
        case ast.Tuple(elts):
            return tuple(_literal(element, names) for element in elts)
        case ast.Set(elts):
            return {_literal(element, names) for element in elts}
        case ast.Dict(keys, values) if None not in keys:
            return {_literal(key, names): _literal(value, names) for key, value in zip(keys, values, strict=True)}
        case ast.Call(ast.Name('dict'), args, keywords) if all(keyword.arg for keyword in keywords):
            given = {key: value for part in args for key, value in dict(_literal(part, names)).items()}
            return given | {keyword.arg: _literal(keyword.value, names) for keyword in keywords}
        case ast.Name('inf' | 'nan' as number) if names:
            return float(number)
        case ast.UnaryOp(ast.USub(), ast.Name('inf')) if names:
            return -float('inf')
        case ast.Name() | ast.Attribute() if names and _NAME.fullmatch(ast.unparse(node)):
            return ast.unparse(node)
        case _:
            return ast.literal_eval(node)
