"""The metadata of a distribution that depends on where the repository is: its links, and those of the README."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# An image, which begins with "!", or a link, that leads to a file of the repository.
_TO_A_FILE = re.compile(r'(!?)\[([^\]]*)\]\((?!\w+:|#)([^)\s]+)\)')


class RepositoryHook(MetadataHookInterface):
    """README and URLs for the setting ``repository`` of pyproject.toml, the empty text where there is none yet."""

    def update(self, metadata: dict) -> None:
        """Add what pyproject.toml lists as dynamic."""
        repository = self.config['repository']
        readme = (Path(self.root) / 'README.md').read_text(encoding='utf-8')
        metadata['readme'] = {'content-type': 'text/markdown', 'text': readme_outside(readme, repository)}
        metadata['urls'] = {'Repository': repository} if repository else {}


def readme_outside(readme: str, repository: str) -> str:
    """Return the README for a package index, which has no files beside it.

    Links to files lead to the repository. Where there is none, their text stays, and images go.
    """

    def outside(link: re.Match) -> str:
        image, text, file = link.groups()
        if repository:
            return f'{image}[{text}]({repository}/{"raw" if image else "blob"}/HEAD/{file})'
        return '' if image else text

    return _TO_A_FILE.sub(outside, readme)
