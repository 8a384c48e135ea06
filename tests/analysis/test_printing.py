from rich.table import Table

from mmrecall.analysis.display import print_table


def test_a_table_that_is_wider_than_any_terminal_is_printed_whole_where_there_is_none(capsys):
    table = Table()
    names = [f'column-{number}' for number in range(60)]
    for name in names:
        table.add_column(name, no_wrap=True)
    table.add_row(*(f'cell-{number}' for number in range(60)))
    print_table(table)
    printed = capsys.readouterr().out
    assert [word for word in printed.split() if word.startswith('column')] == names
    assert 'cell-59' in printed
