"""Plain values of YAML files; needs PyYAML."""

from typing import Any

import yaml

# values that aliases may repeat in one file; configs that mmengine has written repeat hundreds
_MOST_REPEATED = 100_000


class _Loader(yaml.SafeLoader):
    """Loader of plain values and of tuples, as mmengine writes them.

    PyYAML makes one object of a value and its aliases, but a copy or a print of it takes time and memory for each of
    them: nine lines of nine aliases each are 9^9 values.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._sizes: dict[int, int] = {}
        self._total = 0
        self._repeated = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node as PyYAML does, and count its values, those that it repeats included."""
        event = self.peek_event()
        before = self._total
        node = super().compose_node(parent, index)
        if not isinstance(event, yaml.AliasEvent):
            self._total += 1
            self._sizes[id(node)] = self._total - before
            return node
        if id(node) not in self._sizes:
            raise yaml.composer.ComposerError(None, None, f'the alias *{event.anchor} is in itself', event.start_mark)
        self._total += self._sizes[id(node)]
        self._repeated += self._sizes[id(node)]
        if self._repeated > _MOST_REPEATED:
            problem = f'aliases repeat more than {_MOST_REPEATED:,} values; write the values without aliases'
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return node


_Loader.add_constructor(
    'tag:yaml.org,2002:python/tuple', lambda loader, node: tuple(loader.construct_sequence(node, deep=True))
)


def read_plain_yaml(source: Any) -> Any:
    """Return the value in a text or an open file of YAML: plain values and tuples, of at most 100,000 aliased values.

    Raises:
        yaml.YAMLError: it is no YAML, names objects of Python, has an alias inside what it stands for, or aliases that
            repeat more values.

    Example:
        >>> read_plain_yaml('a: &one [1, 2]\\nb: *one')
        {'a': [1, 2], 'b': [1, 2]}
    """
    return yaml.load(source, _Loader)
