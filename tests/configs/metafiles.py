"""The model index, which the tools of OpenMMLab read: model-index.yml and the metafile.yml of every folder of configs.

The collection of a metafile is written by hand. Its models come from the configs, and a model's results (means over
the seeds, in %) from its logs in docs/logs, if there are any (LOGS). A config that is added is recorded first, with
test_resolved_configs.py beside this file. Then, and when a log is added, write the index again:

    python tests/configs/metafiles.py
"""

import gzip
import json
import re
from ast import literal_eval
from pathlib import Path
from statistics import mean

import yaml

from mmrecall.analysis.report.logs import last_evaluation

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_name('resolved_configs.json.gz')
COMMENT = '# The models are written by tests/configs/metafiles.py, the collection by hand.\n'
# the type and the folder of the training data
DATA_SETS = {
    ('CityscapesDataset', 'data/cityscapes/'): 'Cityscapes',
    ('LVISV1Dataset', 'data/lvis_v1/'): 'LVIS v1',
    ('MultiLabelDataset', 'data/CamVid/'): 'CamVid, tags of images',
    ('mmrecall.CIFAR100LT', 'data/cifar100'): 'CIFAR-100-LT',
    ('mmrecall.CIFAR10LT', 'data/cifar10'): 'CIFAR-10-LT',
    ('mmrecall.CamVidDataset', 'data/CamVid/'): 'CamVid',
    ('mmrecall.CamVidPedestrianDataset', 'data/CamVid/'): 'CamVid, pedestrians',
    ('mmrecall.INaturalist2018', 'data/inaturalist2018'): 'iNaturalist 2018',
    ('mmrecall.LongTailList', 'data/cifar10-lt'): 'CIFAR-10-LT as JPEG files',
    ('mmrecall.LongTailList', 'data/digits-lt'): 'Long-tailed digits',
    ('mmrecall.LongTailList', 'data/tiny-imagenet-lt'): 'Tiny-ImageNet-LT',
    ('mmrecall.PlacesLT', 'data/places365'): 'Places-LT',
    ('mmrecall.SynthiaSequenceDataset', 'data/SYNTHIA/'): 'SYNTHIA-SEQS-05-SUMMER',
    ('mmrecall.SynthiaSequenceDataset', 'data/street_scenes/'): 'Generated street scenes',
}
# the logs of configs, docs/logs/LOG-SEED.log.gz; the braces are the loss
LOGS = {
    'decoupling/{}_resnet18w16_1xb128-10e_tiny-imagenet-lt-32x32.py': 'classification-small/tiny-imagenet-lt-32x32-{}',
    'decoupling/{}_resnet18w16_1xb128_tiny-imagenet-lt-32x32.py': 'classification-small/tiny-imagenet-lt-32x32-{}',
    'deeplabv3/deeplabv3_r18-d16_1xb6-{}-3k_camvid-360x480.py': 'camvid-360x480/{}',
    'deeplabv3/deeplabv3_r18w16-d8_1xb8-{}-350i_street-scenes-128x256.py': 'street-scenes/{}',
    'deeplabv3/deeplabv3_r18w32-d16_1xb8-{}-1k_camvid-180x240.py': 'camvid-180x240/{}',
    'deeplabv3/deeplabv3_r18w32-d16_1xb8-{}-1k_camvid-pedestrian-180x240.py': 'camvid-pedestrian-180x240/{}',
    'multi_label/resnet18w16_1xb32-{}-30e_camvid-tags-180x240.py': 'camvid-tags-180x240/{}',
    'oltr/{}_resnet18w16_1xb128-10e_tiny-imagenet-lt-32x32.py': 'classification-small/tiny-imagenet-lt-32x32-{}',
    'resnet/resnet18w16_1xb128-{}-10e_cifar10-lt.py': 'classification-small/cifar10-lt-{}',
    'resnet/resnet18w16_1xb128-{}-10e_tiny-imagenet-lt-32x32.py': 'classification-small/tiny-imagenet-lt-32x32-{}',
    'resnet/resnet18w16_1xb32-{}-30e_digits-lt.py': 'digits-lt/{}',
    'resnet/resnet32_1xb128-{}-200e_cifar10-lt-jpeg.py': 'cifar10-lt-jpeg/{}',
    'sdn/sdn_resnet18w16_1xb128-{}-10e_cifar10-lt.py': 'classification-small/cifar10-lt-sdn-{}',
    'sdn/sdn_resnet18w16_1xb128-{}-10e_tiny-imagenet-lt-32x32.py': 'classification-small/tiny-imagenet-lt-32x32-sdn-{}',
    'sdn/sdn_resnet18w16_1xb32-{}-30e_digits-lt.py': 'digits-lt/sdn-{}',
    'sdn/sdn_resnet32_1xb128-{}-200e_cifar10-lt-jpeg.py': 'cifar10-lt-jpeg/sdn-{}',
}
# by task, the metrics as a log and as a metafile have them
METRICS = {
    'Semantic Segmentation': {'mIoU': 'mIoU', 'mAcc': 'mAcc', 'aAcc': 'aAcc'},
    'Image Classification': {
        'shot/top1': 'Top 1 Accuracy',
        'shot/many': 'Many-shot Accuracy',
        'shot/medium': 'Medium-shot Accuracy',
        'shot/few': 'Few-shot Accuracy',
    },
    'Multi-Label Classification': {
        'multi-label/mAP': 'mAP',
        'multi-label/precision': 'Precision',
        'multi-label/recall': 'Recall',
        'multi-label/f1-score': 'F1 Score',
    },
}


def logs_of(config):
    """Return the logs of a config, given by its path below ``configs``, one of each seed."""
    for name, log in LOGS.items():
        if loss := re.fullmatch(re.escape(name).replace(r'\{\}', '(.+)'), config):
            return sorted((ROOT / 'docs' / 'logs').glob(f'{log.format(loss[1])}-[0-9].log.gz'))
    return []


def read_log(path):
    """Return the seed, the hardware and the metrics of the last evaluation of a log."""
    text = gzip.decompress(path.read_bytes()).decode()
    gpu = re.search(r'^    GPU 0: (.+)', text, re.M)
    ranks = re.search(r'^    GPU number: (.+)', text, re.M)[1]
    return (
        int(re.search(r'^    seed: (\d+)', text, re.M)[1]),
        f'{ranks}x {gpu[1]}' if gpu else 'CPU',
        last_evaluation(path),
    )


def data_set(config, values):
    """Return the name of the data set that a config trains on."""
    # a data set may be inside of one that repeats or divides it
    (place,) = [key for key in values if re.fullmatch(r'train_dataloader(\.dataset)+\.data_root', key)]
    key = tuple(literal_eval(values[place.replace('data_root', part)]) for part in ('type', 'data_root'))
    if key not in DATA_SETS:
        raise ValueError(f'configs/{config}: got the training data {key}; expected one of DATA_SETS in {__file__}')
    return DATA_SETS[key]


def model(config, values, collection):
    """Return the entry of a config, given by its path below ``configs`` and its values by dotted keys."""
    data = data_set(config, values)
    ranks = int(re.search(r'_(\d+)xb\d+[-_]', config)[1])
    metadata = {'Training Data': data, 'Batch Size': ranks * int(values['train_dataloader.batch_size'])}
    for key, name in (('max_epochs', 'Epochs'), ('max_iters', 'Iterations')):
        if f'train_cfg.{key}' in values:
            metadata[name] = int(values[f'train_cfg.{key}'])
    entry = {
        'Name': Path(config).stem,
        'In Collection': collection,
        'Config': f'configs/{config}',
        'Metadata': metadata,
    }
    if paths := logs_of(config):
        seeds, hardware, logged = zip(*map(read_log, paths), strict=True)
        metadata['Training Resources'] = ', '.join(sorted(set(hardware)))
        # `mim search` joins the parts of a list, which must be texts
        metadata['Seeds'] = [str(seed) for seed in seeds]
        entry['Results'] = [result(data, logged)]
        entry['Training Log'] = [path.relative_to(ROOT).as_posix() for path in paths]
    return entry


def result(data, logged):
    """Return the means over the seeds, in percent."""
    (task,) = [task for task, names in METRICS.items() if set(names) & set(logged[0])]
    metrics = {
        name: round(mean(metrics[key] for metrics in logged), 2)
        for key, name in METRICS[task].items()
        if key in logged[0]
    }
    return {'Task': task, 'Dataset': data, 'Metrics': metrics}


def index():
    """Return the texts of all files of the index by their paths."""
    recorded = json.loads(gzip.decompress(RECORD.read_bytes()))
    folders = sorted({path.parent for path in (ROOT / 'configs').glob('[!_]*/*.py')})
    texts = {}
    for folder in folders:
        path = folder / 'metafile.yml'
        if not path.is_file():
            raise FileNotFoundError(f'{path} is missing; write its collection, as in configs/sdn/metafile.yml')
        collections = yaml.safe_load(path.read_text(encoding='utf-8'))['Collections']
        configs = sorted(config.relative_to(ROOT / 'configs').as_posix() for config in folder.glob('*.py'))
        if unknown := set(configs) - set(recorded):
            raise ValueError(f'got {sorted(unknown)}; expected recorded configs: run test_resolved_configs.py first')
        models = [model(config, recorded[config], collections[0]['Name']) for config in configs]
        texts[path] = COMMENT + written({'Collections': collections, 'Models': models})
    imports = [path.relative_to(ROOT).as_posix() for path in texts]
    return {ROOT / 'model-index.yml': written({'Import': imports}), **texts}


def written(content):
    """Return YAML with the keys in their order."""
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)


if __name__ == '__main__':
    for path, text in index().items():
        path.write_text(text, encoding='utf-8')
