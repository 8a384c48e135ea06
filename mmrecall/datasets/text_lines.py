"""Lines of a text file, whoever has saved it."""

import re

from mmengine import fileio

# str.splitlines splits at form feeds and other characters that a path may have
_LINE_END = re.compile(r'\r\n|\n|\r')


def read_text(path: str) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises:
        ValueError: it is not UTF-8, or has a NUL byte; names the line and the byte.
    """
    content = fileio.get(path)
    try:
        text = content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        place = f'line {len(_LINE_END.split(content[: error.start].decode("latin-1")))}'
        raise ValueError(
            f'{path}, {place}: byte 0x{content[error.start]:02x} is not UTF-8; save the file in UTF-8'
        ) from error
    if '\0' in text:
        place = f'line {len(_LINE_END.split(text[: text.index(chr(0))]))}'
        raise ValueError(f'{path}, {place}: a NUL byte; is it a text file, in UTF-8?')
    return text


def read_lines(path: str) -> list[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1; they end as on Unix, Windows or old Macs.

    Raises:
        ValueError: see `read_text`.
    """
    lines = enumerate(_LINE_END.split(read_text(path)), 1)
    return [(number, line) for number, line in lines if line.strip()]
