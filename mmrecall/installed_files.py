"""The configs and tools of this package: in the folder ``.mim`` of a wheel, or beside the package in a clone."""

from difflib import get_close_matches
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# A file that lies beside both folders; other packages may install a folder of the same name beside this one.
_MARK = 'model-index.yml'


def installed_folder(name: str) -> Path:
    """Return the folder ``'configs'`` or ``'tools'`` of this package.

    Raises:
        FileNotFoundError: the package was installed without it.
    """
    places = [_PACKAGE / '.mim', _PACKAGE.parent]
    for place in places:
        if (place / _MARK).is_file() and (place / name).is_dir():
            # in a clone, .mim has links, but the bases of a config are found by their own paths
            return (place / name).resolve()
    looked = ' nor '.join(str(place / name) for place in places)
    raise FileNotFoundError(f'mmrecall is installed without its {name}: got neither {looked}; install its wheel again')


def config_names() -> list[str]:
    """Return the names of the configs, ``'bbn/...'``, without the bases."""
    folder = installed_folder('configs')
    return sorted(path.relative_to(folder).with_suffix('').as_posix() for path in folder.glob('[!_]*/*.py'))


def similar_configs(name: str) -> list[str]:
    """Return the names of the configs that are most like a name or the path of a config, the most similar first."""
    names = {one.rpartition('/')[2]: one for one in config_names()}
    return [names[one] for one in get_close_matches(Path(name).name.removesuffix('.py'), names)]
