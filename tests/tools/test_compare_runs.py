"""The tool as a user calls it."""

import pytest
from commands import run

pytest.importorskip('mmseg')
pytest.importorskip('seaborn')

from written_runs import RECALL, classification_config, segmentation_config, write_run

TOOL = 'tools/analysis_tools/compare_runs.py'


def test_runs_of_a_slurm_array_become_one_report(repository, tmp_path):
    root, out = tmp_path / 'work dirs', tmp_path / 'the report'
    for loss, config in (('ce', segmentation_config()), ('recall', segmentation_config(RECALL))):
        write_run(root / loss / 'seed_0', config)
    write_run(root / 'resnet', classification_config(dict(type='LinearClsHead')), metrics={'shot/top1': 50.0})
    with open(root / 'ce' / 'seed_0' / '20260101_000000' / 'vis_data' / 'scalars.json', 'a') as file:
        file.write('{"loss": 0.1, "it')
    rows = [f'{task}\t{loss}.py\t0\t{root / loss / "seed_0"}\tpython' for task, loss in enumerate(('ce', 'focal'))]
    (root / 'runs.tsv').write_text('\n'.join(['task\tconfig\tseed\twork_dir\tcommand', *rows]) + '\n')
    status, output = run('python', repository / TOOL, root, '--out', out, '--reference', 'RecallLoss')
    assert status == 0, output
    skipped = [line for line in output.splitlines() if line.startswith('Skipped: ')]
    assert [line.partition(': ')[2].partition(': ')[0] for line in skipped] == [
        str(root / 'focal' / 'seed_0'),
        str(root / 'resnet'),
    ]
    assert f'Note: {root / "ce" / "seed_0"}' in output
    assert 'line 3 is no JSON' in output
    table = [line.split() for line in output.splitlines() if 'Loss' in line]
    assert [row[:2] for row in table] == [['RecallLoss', '1'], ['CrossEntropyLoss', '1']]
    assert output.splitlines()[-1] == f'Written: {out / "index.html"}'
    page = (out / 'index.html').read_text(encoding='utf-8')
    assert f'compare_runs.py &#39;{root}&#39; --out &#39;{out}&#39; --reference RecallLoss' in page


def test_runs_are_called_as_the_user_says(repository, tmp_path):
    for seed, name in enumerate(('a', 'b', 'c')):
        write_run(tmp_path / 'runs' / name, segmentation_config(lr=0.1 + seed, seed=seed))
    given = [f'ours={tmp_path}/runs/a', f'baseline={tmp_path}/runs/b']
    status, output = run('python', repository / TOOL, tmp_path / 'runs', '--out', tmp_path / 'out', '--labels', *given)
    assert status == 0, output
    rows = [line.split() for line in output.splitlines()]
    assert [row[0] for row in rows if row[1:2] == ['1']] == ['ours', 'baseline', 'CrossEntropyLoss']
    status, output = run('python', repository / TOOL, tmp_path / 'runs', '--labels', f'ours={tmp_path}/nowhere')
    assert status == 1
    assert output.strip().endswith(f"expected an existing folder; '{tmp_path}/nowhere' is none")


def test_nothing_to_report_is_an_error_that_says_why(repository, tmp_path):
    status, output = run('python', repository / TOOL, tmp_path / 'missing', '--out', tmp_path / 'out')
    assert status == 1
    assert output.endswith(f'there is no run to report\n  {tmp_path / "missing"}: there is no such folder\n')
    assert not (tmp_path / 'out').exists()
