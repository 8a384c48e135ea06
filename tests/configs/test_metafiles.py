"""The model index: its readers take it, and no number in it is without a log of its config and a row of the docs."""

import gzip
import json
import re
from pathlib import Path

import pytest

pytest.importorskip('mmengine')
pytest.importorskip('modelindex')

import modelindex
import yaml
from metafiles import RECORD, ROOT, index, logs_of
from mmengine.config import Config
from test_resolved_configs import flat, runnable

INDEX = ROOT / 'model-index.yml'
MODELS = {
    model['Config'].removeprefix('configs/'): model
    for path in yaml.safe_load(INDEX.read_text(encoding='utf-8'))['Import']
    for model in yaml.safe_load((ROOT / path).read_text(encoding='utf-8'))['Models']
}
MEASURED = [config for config, model in MODELS.items() if 'Results' in model]
# logs of what no config has: the mean of the loss over the images, not over their class weights; adjusted scores
NO_CONFIG = (
    'camvid-180x240/ce-tau*-0.log.gz',
    'classification-small/cifar10-lt-sdn-*-valid-0.log.gz',
    'classification-small/tiny-imagenet-lt-32x32-ce-tau1-*.log.gz',
)
# what changes no result, or only the draws of a seed, or helps to write a config
IGNORED = re.compile(
    r'(default_hooks|launcher|loss|norm_cfg|randomness|resume|work_dir)\b.*'
    r'|\w+_dataloader\.(num_workers|pin_memory|collate_fn\.type)|(\w+_dataloader\.dataset\.)?data_root'
    r'|test_evaluator\.out_dir|model\.first_stage'
)
# what older code needed in a config, and is the default of the present code
DEFAULTS = {
    'normalizer': "'weight'",
    'class_weight': "'effective_number'",
    'class_counts': "'auto'",
    'type': "'mmrecall.WeightedCrossEntropyLoss'",
}
# the loss had this name before; the demo writes its data elsewhere
RENAMED = {
    "'mmrecall.TopKCrossEntropyLoss'": "'mmrecall.OHEMCrossEntropyLoss'",
    "'work_dirs/demo-classification/digits-lt/train.txt'": "'data/digits-lt/train.txt'",
}


def test_the_index_is_written_from_configs_and_logs():
    stale = [path for path, text in index().items() if path.read_text(encoding='utf-8') != text]
    assert stale == [], 'run python tests/configs/metafiles.py'


@pytest.fixture(scope='module')
def loaded():
    return modelindex.load(str(INDEX))


def test_the_reader_of_mmpretrain_finds_no_mistake(loaded):
    # it looks for a README beside the metafile; ours are given from the root, as those of the toolboxes
    assert [error for error in loaded.check(silent=True) if 'Path to README file' not in error] == []
    assert all((ROOT / collection.readme).is_file() for collection in loaded.collections)


def test_mim_can_search_the_models(loaded):
    # `mim search` joins every list of the metadata to a text
    for part in (*loaded.collections, *loaded.models):
        lists = [value for value in part.metadata.data.values() if isinstance(value, list)]
        assert all(isinstance(one, str) for value in lists for one in value), (part.name, lists)


def test_every_runnable_config_is_listed_once_and_in_its_folder(loaded):
    assert sorted(model.config for model in loaded.models) == [f'configs/{name}' for name in runnable()]
    for model in loaded.models:
        assert model.name == Path(model.config).stem
        assert Path(model.full_model.readme).parent == Path(model.config).parent


def test_mmpretrain_builds_a_model_by_its_name(monkeypatch):
    apis = pytest.importorskip('mmpretrain.apis')
    monkeypatch.setattr(apis.ModelHub, '_models_dict', {})
    # its own models take seconds to read
    monkeypatch.setattr(apis.ModelHub, '_ModelHub__mmpretrain_registered', True)
    apis.ModelHub.register_model_index(INDEX, config_prefix=ROOT)
    assert apis.list_models('resnet32*jpeg', task='Image Classification') == [
        f'resnet32_1xb128-{loss}-200e_cifar10-lt-jpeg' for loss in ('balanced-softmax', 'ce', 'ldam-drw')
    ]
    model = apis.get_model('sdn_resnet18w16_1xb128-recall-ema0.1-10e_cifar10-lt')
    assert type(model.head).__name__ == 'SDNHead'


@pytest.mark.parametrize('package', ['mmpretrain', 'mmseg'])
def test_no_name_is_one_of_a_toolbox(package):
    folder = Path(pytest.importorskip(package).__file__).parent / '.mim' / 'configs'
    metafiles = [*folder.glob('*/metafile.yml'), *folder.glob('*/metafile.yaml')]
    theirs = {
        name
        for path in metafiles
        for name in re.findall(r'^ *- Name: (\S+)', path.read_text(encoding='utf-8'), re.M)
        if '_' in name
    }
    assert len(theirs) > 100
    assert theirs.isdisjoint(Path(config).stem for config in MODELS)


def test_every_log_has_a_config():
    logs = ROOT / 'docs' / 'logs'
    listed = [log for config in MEASURED for log in MODELS[config]['Training Log']]
    without = [path.relative_to(ROOT).as_posix() for pattern in NO_CONFIG for path in logs.glob(pattern)]
    assert sorted(listed + without) == sorted(path.relative_to(ROOT).as_posix() for path in logs.rglob('*.log.gz'))


def rows(path):
    """Return the leading numbers of the cells of every row of the tables of a page."""
    lines = [line for line in path.read_text(encoding='utf-8').splitlines() if line.startswith('|')]
    return [
        [float(cell[1]) for cell in map(re.compile(r'[ *]*(\d+\.\d)\b').match, line.split('|')) if cell]
        for line in lines
    ]


@pytest.mark.parametrize('config', MEASURED)
def test_results_are_those_of_a_row_in_the_docs(config):
    (result,) = MODELS[config]['Results']
    docs = ROOT / 'docs'
    pages = (ROOT / 'configs' / config).with_name('README.md'), docs / 'results.md', docs / 'long-tail.md'
    # two decimals here, one there, each rounded from the mean of the seeds
    assert any(
        all(any(abs(value - cell) < 0.0551 for cell in row) for value in result['Metrics'].values())
        for page in pages
        for row in rows(page)
    ), result


@pytest.fixture(scope='module')
def recorded():
    return json.loads(gzip.decompress(RECORD.read_bytes()))


def logged(path):
    """Return all keys of the config that a log begins with."""
    text = gzip.decompress(path.read_bytes()).decode().split('mmengine - INFO - Config:\n')[1]
    return flat(Config.fromstring(re.split(r'\n\d\d/\d\d \d\d:\d\d:\d\d - mmengine', text)[0], '.py').to_dict())


@pytest.mark.parametrize(
    ('config', 'path'),
    [(config, path) for config in MEASURED for path in logs_of(config)],
    ids=lambda part: part if isinstance(part, str) else part.stem,
)
def test_a_log_is_of_the_config_as_it_is(config, path, recorded):
    log = logged(path)
    assert log['randomness.seed'] == re.search(r'-(\d)\.log', path.name)[1]
    now, then = (
        {key: value for key, value in values.items() if not IGNORED.fullmatch(key)}
        for values in (recorded[config], log)
    )
    then = {key: RENAMED.get(value, value) for key, value in then.items()}
    assert {key: (then.get(key), value) for key, value in now.items() if then.get(key) != value} == {}
    more = {key: value for key, value in then.items() if key not in now}
    classes = {'num_classes': now.get('model.head.num_classes')}
    assert {
        key: value for key, value in more.items() if value != (DEFAULTS | classes).get(key.rpartition('.')[2])
    } == {}
