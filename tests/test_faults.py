"""The table of what was broken on purpose."""

import re

ROW = re.compile(r'\| `(tests/[\w/]+\.py)::(test_\w+)')


def defines(text, name):
    return re.search(rf'^(def )?{name}\b', text, re.MULTILINE)


def test_every_row_of_the_table_is_backed_by_a_test(repository):
    text = (repository / 'docs' / 'faults.md').read_text().partition('## Fuzzed')[0]
    rows = [line for line in text.splitlines() if re.match(r'\| (?!what was injected)', line)]
    found = [ROW.search(row) for row in rows]
    assert None not in found
    missing = [one[0] for one in found if not defines((repository / one[1]).read_text(), one[2])]
    assert missing == []
    assert len(rows) >= 40
