import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmseg.datasets')
from mmrecall.datasets import CamVidDataset, CamVidPedestrianDataset

PIPELINE = [dict(type='mmseg.LoadAnnotations')]


@pytest.fixture
def layout(tmp_path):
    """Two frames as the SegNet authors lay them out, every label id in the first."""
    for folder in ('train', 'trainannot'):
        (tmp_path / folder).mkdir()
    label = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for name in ('0001TP_006690', '0016E5_00390'):
        cv2.imwrite(str(tmp_path / 'train' / f'{name}.jpg'), np.zeros((3, 4, 3), np.uint8))
        cv2.imwrite(str(tmp_path / 'trainannot' / f'{name}.png'), label)
    return tmp_path


def camvid(root, **options):
    return CamVidDataset(
        data_root=str(root), data_prefix=dict(img_path='train', seg_map_path='trainannot'), pipeline=PIPELINE, **options
    )


def test_ids_0_to_10_are_classes_and_11_is_ignored(layout):
    data = camvid(layout)
    assert len(data) == 2
    assert data[0]['gt_seg_map'].flatten().tolist() == [*range(11), 255]
    assert data.metainfo['classes'][9:] == ('Pedestrian', 'Bicyclist')


def test_png_images_are_found_as_well(layout):
    for image in (layout / 'train').iterdir():
        cv2.imwrite(str(image.with_suffix('.png')), np.zeros((3, 4, 3), np.uint8))
        image.unlink()
    assert len(camvid(layout)) == 2


def test_a_part_of_the_classes_leaves_the_others_out(layout):
    data = camvid(layout, metainfo=dict(classes=('Car', 'Road')))
    assert data[0]['gt_seg_map'].flatten().tolist() == [255, 255, 255, 1, 255, 255, 255, 255, 0, 255, 255, 255]


@pytest.mark.parametrize('mode', ['L', 'P'])
def test_pedestrians_are_label_1_and_every_other_class_is_label_0(layout, mode):
    colours = np.uint8(CamVidDataset.METAINFO['palette'] + [[0, 0, 0]])
    for path in (layout / 'trainannot').iterdir():
        image = Image.fromarray(np.asarray(Image.open(path)), mode='L')
        if mode == 'P':
            image.putpalette(colours.tobytes())
        image.save(path)
    data = CamVidPedestrianDataset(
        data_root=str(layout),
        data_prefix=dict(img_path='train', seg_map_path='trainannot'),
        pipeline=[dict(type='mmrecall.LoadCheckedAnnotations', num_classes=2)],
    )
    assert data[0]['gt_seg_map'].flatten().tolist() == [0] * 9 + [1, 0, 255]
    assert data.metainfo['classes'] == ('Rest', 'Pedestrian')


@pytest.mark.parametrize('classes', [('Pedestrian', 'Rest'), ('Pedestrian',)])
def test_the_two_classes_of_pedestrians_have_no_other_names_or_order(layout, classes):
    with pytest.raises(ValueError, match=r"metainfo\.classes=.*expected \('Rest', 'Pedestrian'\)"):
        CamVidPedestrianDataset(
            data_root=str(layout),
            data_prefix=dict(img_path='train', seg_map_path='trainannot'),
            metainfo=dict(classes=classes),
            pipeline=[],
        )


def test_a_missing_label_is_named(layout):
    (layout / 'trainannot' / '0016E5_00390.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'1 of 2.*0016E5_00390\.jpg.*trainannot.*0016E5_00390\.png'):
        camvid(layout)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'train is missing.*trainannot'):
        camvid(tmp_path)


def test_png_beside_jpeg_must_be_decided(layout):
    cv2.imwrite(str(layout / 'train' / 'other.png'), np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(ValueError, match='set img_suffix'):
        camvid(layout)
    assert len(camvid(layout, img_suffix='.jpg')) == 2


def test_images_without_a_label_folder_are_for_prediction(layout):
    data = CamVidDataset(data_root=str(layout), data_prefix=dict(img_path='train'), pipeline=[], test_mode=True)
    assert len(data) == 2
    assert 'seg_map_path' not in data[0]
