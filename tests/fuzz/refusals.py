"""What a reader may do with a bad file."""

REFUSALS = (ValueError, FileNotFoundError, TypeError)


def outcome(read, path):
    """What was read, or None if the file is refused with its name, in a message that can be read."""
    try:
        return read()
    except REFUSALS as error:
        refusal = error
    assert str(path) in str(refusal), f'{type(refusal).__name__}: {refusal}'
    assert len(str(refusal)) < 10_000, 'an error that nobody can read'
    return None
