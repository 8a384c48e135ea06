"""The configs and tools of this package: in the folder ``.mim`` of a wheel, or beside the package in a clone."""

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
