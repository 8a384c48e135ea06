"""CIFAR-100-LT from the official archive, in memory: 100 classes, imbalance ratio 100, 500 to 5 images per class."""

_base_ = './cifar10_lt_archive.py'
data_preprocessor = dict(num_classes=100)
dataset_type = 'mmrecall.CIFAR100LT'
data_root = 'data/cifar100'
train_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
val_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
test_dataloader = dict(dataset=dict(type=dataset_type, data_root=data_root))
class_counts = [int(500 * 100 ** (-label / 99)) for label in range(100)]
val_evaluator = dict(class_counts=class_counts)
test_evaluator = dict(class_counts=class_counts)
