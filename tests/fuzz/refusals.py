"""Allowed outcomes of reading a bad file."""

REFUSALS = (ValueError, FileNotFoundError, TypeError)


def outcome(read, path):
    """Return the result, or None for an error that names the file in a short message."""
    try:
        return read()
    except REFUSALS as error:
        refusal = error
    assert str(path) in str(refusal), f'{type(refusal).__name__}: {refusal}'
    assert len(str(refusal)) < 10_000, 'too long a message'
    return None
