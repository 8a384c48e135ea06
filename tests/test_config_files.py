"""Configs with mistakes: the error names the file and the line."""

from pathlib import Path

import pytest
from commands import run

pytest.importorskip('mmengine')

from mmrecall.config_files import check_option_names, naming_mistakes, read_config

MISTAKES = {
    'bad.yaml': (b'model:\n  type: A\n  head: [1, 2\nx: 1\n', r":4: no YAML: expected ',' or '\]'"),
    'tab.yml': (b'model:\n\ttype: A\n', r':2: no YAML: '),
    'aliases.yaml': (
        b'a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n'
        + b''.join(b'%c: &%c [*%c, *%c, *%c, *%c, *%c, *%c]\n' % (c + 1, c + 1, *[c] * 6) for c in range(97, 106)),
        ':7: no YAML: aliases repeat more than 100,000 values',
    ),
    'list.yaml': (b'\n- a\n- b\n', ':1: got a list; expected names and their values'),
    'list.json': (b'[1, 2]', ':1: got a list; expected names and their values'),
    'bad.json': (b'{\n"model": 1,\n}', ':3: no JSON: '),
    'deep.json': (b'[' * 100_000, ':1: no JSON: '),
    'empty.yaml': (b'', ':1: the file is empty'),
    'bad.py': (b'model = dict(\n    a=1,\n    b=,\n)\n', ':3: no Python: invalid syntax'),
    'nul.py': (b'a = "\0"\n', ':1: no Python: .*null bytes'),
    'raises.py': (b'model = 1\nlr = 1 / 0\n', ':2: ZeroDivisionError: division by zero'),
    'name.py': (b'a = 1\nb = dict(c=a)\nd = e\n', ":3: NameError: name 'e' is not defined"),
    'latin.py': (b'# one\nname = "\xe9"\n', ':2: got the byte 0xe9; expected text in UTF-8'),
    'latin.yaml': (b'one: 1\nname: \xe9\n', ':2: got the byte 0xe9; expected text in UTF-8'),
}


@pytest.mark.parametrize('name', MISTAKES)
@pytest.mark.parametrize(
    'child', [None, "_base_ = ['{}']\n", '_base_: {}\nx: 1\n', '_base_:\n  - {}\n', '{{"_base_": "{}"}}']
)
def test_a_mistake_is_named_with_file_and_line(name, child, tmp_path):
    content, message = MISTAKES[name]
    path = tmp_path / 'a=1' / name
    path.parent.mkdir()
    path.write_bytes(content)
    config = path
    if child is not None:
        config = tmp_path / ('config.py' if ' = ' in child else 'config.json' if '{{' in child else 'config.yaml')
        config.write_text(child.format(f'a=1/{name}'))
    with pytest.raises(ValueError, match=rf'^{path}{message}'):
        read_config(config)


def test_a_missing_config_and_a_missing_base_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf'^{tmp_path}/none\.py: there is no such config file; .*configs list'):
        read_config(tmp_path / 'none.py')
    (tmp_path / 'config.py').write_text("_base_ = ['none.py']\n")
    with pytest.raises(FileNotFoundError, match=r'^.*/config\.py: .*none\.py'):
        read_config(tmp_path / 'config.py')


def test_a_config_without_mistakes_is_mmengines(tmp_path):
    (tmp_path / 'base.yaml').write_text('model: {type: A}\n')
    (tmp_path / 'config.json').write_text('{"_base_": "base.yaml", "x": {{ _base_.model.type }}}')
    config = read_config(tmp_path / 'config.json')
    assert (config.model, config.x) == (dict(type='A'), 'A')


def test_a_file_that_is_no_base_is_not_blamed(tmp_path):
    (tmp_path / 'labels.json').write_text('[1, 2]')
    (tmp_path / 'config.py').write_text("labels = 'labels.json'\nx = 1 / 0\n")
    with pytest.raises(ValueError, match=r'config\.py:2: ZeroDivisionError'):
        read_config(tmp_path / 'config.py')


def test_a_module_that_is_no_python_is_named_and_no_line_of_the_config(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'module_with_a_mistake.py').write_text('\n\na = (\n')
    (tmp_path / 'config.py').write_text("custom_imports = dict(imports=['module_with_a_mistake'])\n")
    with pytest.raises(ValueError, match=r'config\.py: SyntaxError: .*\(module_with_a_mistake\.py, line 3\)'):
        read_config(tmp_path / 'config.py')


SETTINGS = (
    'model.decode_head.loss_decode.alpha', 'model.new_part', 'width', 'val_cfg', 'strategy.type', 'env_cfg.dist_cfg',
    'randomness.seed', 'default_scope', 'launcher', 'resume', 'load_from', 'work_dir', 'log_level', 'experiment_name',
    'auto_scale_lr.enable', 'model_wrapper_cfg.type', 'find_unused_parameters', 'sync_bn', 'compile', 'runner_type',
    'activation_checkpointing', 'tta_model.type', 'tta_pipeline', 'visualizer.name', 'custom_hooks',
)  # fmt: skip


def test_options_are_settings_that_the_config_has_or_mmengine_reads(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text("model = dict(type='A')\nwidth = 16\n")
    config = read_config(path, {'model.decode_head.alpha': 0.1, 'train_cfg.max_epochs': 1, 'width': 32})
    assert config.to_dict() == dict(
        model=dict(type='A', decode_head=dict(alpha=0.1)), width=32, train_cfg=dict(max_epochs=1)
    )
    check_option_names(config, SETTINGS)
    for name, close in (
        ('train_cgf.max_epochs', 'did you mean train_cfg'),
        ('optim_wraper.optimizer.lr', 'did you mean optim_wrapper'),
        ('modle.type', 'did you mean model'),
        ('wdith', 'did you mean width'),
        ('decode_head.alpha', 'set it in the config first'),
        ('self', ''),
    ):
        with pytest.raises(ValueError, match=rf'^got --cfg-options {name}; expected .*{path} has.*{close}'):
            read_config(path, {name: 1})
    path.write_text("runner_type = 'mypackage.MyRunner'\n")
    assert read_config(path, {'my_setting': 1}).my_setting == 1


def test_an_unknown_option_of_a_tool_is_named(repository, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('a = 1')
    words = ['python', repository / 'tools' / 'dataset_converters' / 'long_tail_list.py', config, '--out', 'list.txt']
    status, output = run(*words, '--cfg-options', 'train_dataloadr.dataset.seed=1')
    assert status == 1
    assert output.splitlines()[-1].endswith('did you mean train_dataloader or val_dataloader or test_dataloader?'), (
        output
    )


def test_an_unknown_type_is_named_with_file_and_line(tmp_path):
    from mmengine.registry import DATASETS

    (tmp_path / 'base.py').write_text("data = dict(\n    type='NoSuchDataset')\n")
    (tmp_path / 'config.py').write_text("_base_ = ['base.py']\n\nother = dict(type='mmengine.AlsoNone')\n")
    config = read_config(tmp_path / 'config.py')
    for part, place in ((config.data, 'base.py:2'), (config.other, 'config.py:3')):
        message = rf'^{tmp_path}/{place}: .*is not in the .* registry'
        with pytest.raises(ValueError, match=message), naming_mistakes(config):
            DATASETS.build(part)
    with pytest.raises(KeyError, match='other'), naming_mistakes(config):
        {}['other']


def test_a_missing_file_is_named_with_the_line_of_its_setting(tmp_path):
    (tmp_path / 'base.py').write_text("data = dict(\n    ann_file='tags.json',\n    img='images/train/')\n")
    (tmp_path / 'config.py').write_text("_base_ = ['base.py']\n# tags.json, train\nother = dict(img='train')\n")
    config = read_config(tmp_path / 'config.py')
    for file, line in (('data/tags.json', 2), ('data/images/train', 3)):
        message = rf'^{tmp_path}/base\.py:{line}: {file} is missing'
        with pytest.raises(FileNotFoundError, match=message), naming_mistakes(config):
            Path(file).read_text()
    with pytest.raises(FileNotFoundError, match=r"^\[Errno 2\].*'data/others\.json'"), naming_mistakes(config):
        Path('data/others.json').read_text()


@pytest.mark.parametrize('tool', ['dataset_converters/long_tail_list.py', 'analysis_tools/class_statistics.py'])
def test_tools_name_the_line_of_a_mistake(tool, repository, tmp_path):
    config = tmp_path / 'config.py'
    words = ['python', repository / 'tools' / tool, config, '--out', tmp_path / 'out.txt']
    for text, place in (
        ('a = 1\nb = (\n', f'{config}:2: no Python'),
        ("train_dataloader = dict(\n    dataset=dict(type='NoSuchDataset'))\n", f'{config}:2: '),
    ):
        config.write_text(text)
        status, output = run(*words)
        assert status == 1
        assert output.splitlines()[-1].startswith(place), output
