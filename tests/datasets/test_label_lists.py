import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmrecall.datasets.label_lists import read_class_names, read_competition_json, read_list, shot_groups


def write(path, text):
    path.write_text(text, encoding='utf-8')
    return str(path)


def names(tmp_path, *lines, num_classes=None):
    return read_list(write(tmp_path / 'list.txt', '\n'.join(lines)), num_classes).classes


# paths with characters at which str.splitlines splits, but without line ends
paths = st.text(st.characters(codec='utf-8', exclude_characters='\n\r\0'), min_size=1).map(lambda text: f'a/{text}.jpg')


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pairs=st.lists(st.tuples(paths, st.integers(0, 9)), min_size=1, unique_by=lambda pair: pair[0]),
    gap=st.sampled_from([' ', '\t', '   ']),
)
def test_what_is_written_is_read_also_with_spaces_in_paths(pairs, gap, tmp_path):
    path = write(tmp_path / 'list.txt', ''.join(f'{name}{gap}{label}\n' for name, label in pairs))
    found = read_list(path, 10).images
    assert [(image.path, image.label) for image in found] == pairs
    assert [image.place for image in found] == [f'line {number}' for number in range(1, len(pairs) + 1)]


def test_blank_lines_and_windows_line_ends_do_no_harm(tmp_path):
    (tmp_path / 'list.txt').write_bytes(b'a/1.jpg 0\r\n\r\nb/2.jpg 1\r\n\r\n')
    found = read_list(str(tmp_path / 'list.txt')).images
    assert [(image.path, image.label, image.place) for image in found] == [
        ('a/1.jpg', 0, 'line 1'),
        ('b/2.jpg', 1, 'line 3'),
    ]


@pytest.mark.parametrize(
    ('line', 'message'),
    [
        ('a.jpg', 'got \'a.jpg\'; expected "path label"'),
        ('a.jpg 1.0', 'got \'a.jpg 1.0\'; expected "path label"'),
        ('a.jpg 1_0', 'expected "path label"'),
        ('7', "got '7'"),
        ('a.jpg -1', r'a\.jpg has the label -1, but classes begin with 0'),
        ('a.jpg 3', r'a\.jpg has the label 3, but classes are 0 to 2'),
    ],
)
def test_a_wrong_line_is_named_with_the_file(line, message, tmp_path):
    path = write(tmp_path / 'list.txt', f'first.jpg 0\n{line}\n')
    with pytest.raises(ValueError, match=rf'list\.txt, line 2: .*{message}'):
        read_list(path, 3)


def test_a_negative_label_is_refused_also_when_the_classes_are_unknown(tmp_path):
    with pytest.raises(ValueError, match=r'line 1: a\.jpg has the label -2, but classes begin with 0'):
        read_list(write(tmp_path / 'list.txt', 'a.jpg -2'))


def test_a_missing_list_and_an_empty_one_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'the list .*none\.txt is missing'):
        read_list(str(tmp_path / 'none.txt'))
    with pytest.raises(ValueError, match=r'list\.txt lists no images'):
        read_list(write(tmp_path / 'list.txt', '\n\n'))


def test_a_class_is_called_by_its_folder_without_what_all_share(tmp_path):
    assert names(tmp_path, 'train/cat/1.jpg 0', 'train/dog/1.jpg 1', 'train/cat/2.jpg 0') == ['cat', 'dog']
    assert names(tmp_path, 'x/Plantae/7/1.jpg 0', 'x/Aves/2/1.jpg 1') == ['Plantae/7', 'Aves/2']
    assert names(tmp_path, 'train/cat/1.jpg 0') == ['cat']


def test_a_class_without_a_folder_of_its_own_is_called_by_its_number(tmp_path):
    assert names(tmp_path, 'val/1.jpg 0', 'val/2.jpg 1') == ['0', '1']
    assert names(tmp_path, '1.jpg 0', '2.jpg 1') == ['0', '1']
    assert names(tmp_path, 'cat/1.jpg 0', 'dog/1.jpg 1', 'wolf/1.jpg 1') == ['cat', '1']
    assert names(tmp_path, 'cat/1.jpg 0', 'wolf/1.jpg 3', num_classes=5) == ['cat', '1', '2', 'wolf', '4']


COMPETITION = dict(
    images=[dict(id=7, file_name='x/Aves/2/a.jpg'), dict(id=9, file_name='x/Fungi/0/b.jpg')],
    annotations=[dict(id=1, image_id=9, category_id=0), dict(id=2, image_id=7, category_id=2)],
    categories=[dict(id=0, name='Amanita'), dict(id=2, name='Corvus')],
)


def competition(tmp_path, **changes):
    return write(tmp_path / 'train2018.json', json.dumps({**COMPETITION, **changes}))


def test_the_competitions_json_gives_images_by_id_and_names_by_category(tmp_path):
    found = read_competition_json(competition(tmp_path), 4)
    assert [(image.path, image.label) for image in found.images] == [('x/Fungi/0/b.jpg', 0), ('x/Aves/2/a.jpg', 2)]
    assert found.classes == ['Amanita', '1', 'Corvus', '3']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(annotations=[]), "has no 'annotations'"),
        (dict(annotations=[dict(image_id=8, category_id=0)]), r'annotations\[0\]: no image has the id 8'),
        (dict(annotations=[dict(image_id=7, category_id=4)]), r'annotations\[0\]: .*a\.jpg has the label 4'),
        (dict(annotations=[dict(image_id=7, category_id='4')]), r"annotations\[0\]: got category_id='4'"),
        (dict(annotations=[dict(image_id=7)]), r"annotations\[0\]: got .*; expected an object with 'category_id'"),
        (dict(images=[dict(id=7)]), r"images\[0\]: got \['id'\]; expected an object with 'file_name'"),
    ],
)
def test_a_wrong_entry_of_the_json_is_named(changes, message, tmp_path):
    with pytest.raises(ValueError, match=rf'train2018\.json.*{message}'):
        read_competition_json(competition(tmp_path, **changes), 4)


def test_what_is_no_json_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'a\.json is not JSON'):
        read_competition_json(write(tmp_path / 'a.json', 'a.jpg 1'), 4)


def test_class_names_are_the_last_part_of_a_line_with_tabs(tmp_path):
    path = write(tmp_path / 'classes.txt', 'n02123394\tPersian cat\nn02231487\twalking stick, stick insect\nplain\n')
    assert read_class_names(path) == ['Persian cat', 'walking stick, stick insect', 'plain']
    with pytest.raises(FileNotFoundError, match=r'classes: the file nowhere\.txt is missing'):
        read_class_names('nowhere.txt')


@settings(deadline=None)
@given(counts=st.lists(st.integers(0, 300)), few=st.integers(0, 100), more=st.integers(0, 100))
def test_every_class_is_in_one_group_and_the_borders_are_medium(counts, few, more):
    groups = np.array(shot_groups([*counts, few, few + more], few + more, few))
    counts = np.array([*counts, few, few + more])
    assert ((groups == 'many') == (counts > few + more)).all()
    assert ((groups == 'few') == (counts < few)).all()
    assert groups[-1] == groups[-2] == 'medium'


def test_groups_that_leave_a_gap_are_refused():
    with pytest.raises(ValueError, match='few is 30, many 20'):
        shot_groups([1, 2], many=20, few=30)


def test_a_byte_order_mark_is_no_part_of_a_path_or_name(tmp_path):
    (tmp_path / 'list.txt').write_bytes(b'\xef\xbb\xbfa/1.jpg 0\r\nb/2.jpg 1\r\n')
    found = read_list(str(tmp_path / 'list.txt'))
    assert [image.path for image in found.images] == ['a/1.jpg', 'b/2.jpg']
    assert found.classes == ['a', 'b']
    (tmp_path / 'classes.txt').write_bytes(b'\xef\xbb\xbfrose\r\ntulip\r\n')
    assert read_class_names(str(tmp_path / 'classes.txt')) == ['rose', 'tulip']


def test_a_number_that_cannot_be_a_class_is_named_before_anything_is_made_of_it(tmp_path):
    (tmp_path / 'list.txt').write_text('a.jpg 0\nb.jpg 20260101120000\n')
    with pytest.raises(ValueError, match=r'list\.txt, line 2: b\.jpg has the label 20260101120000, but classes are 0'):
        read_list(str(tmp_path / 'list.txt'))


def test_old_mac_line_ends_and_none_at_the_end_do_no_harm(tmp_path):
    (tmp_path / 'list.txt').write_bytes(b'a/1.jpg 0\rb/2.jpg 1  \r\r c/3.jpg\t2')
    found = read_list(str(tmp_path / 'list.txt')).images
    assert [tuple(image) for image in found] == [
        ('a/1.jpg', 0, 'line 1'), ('b/2.jpg', 1, 'line 2'), ('c/3.jpg', 2, 'line 4'),
    ]  # fmt: skip


READERS = {
    'list.txt': read_list,
    'classes.txt': read_class_names,
    'train.json': lambda path: read_competition_json(path, 3),
}


@pytest.mark.parametrize('name', READERS)
@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('a.jpg 0\r\ncaf\xe9.jpg 1\n'.encode('latin-1'), 'line 2: byte 0xe9 is not UTF-8; save the file in UTF-8'),
        ('a.jpg 0\n'.encode('utf-16'), 'line 1: byte 0xff is not UTF-8'),
        ('a.jpg 0\n'.encode('utf-16-le'), 'line 1: got a NUL byte; expected a text file'),
        (b'a.jpg 0\rb.jpg\0 1\n', 'line 2: got a NUL byte'),
        (b'a.jpg 0\n\xc3', 'line 2: byte 0xc3'),
    ],
    ids=['latin-1', 'utf-16', 'utf-16 without mark', 'NUL', 'truncated'],
)
def test_what_is_not_utf_8_is_named_with_line_and_byte(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f'{tmp_path / name}, {message}'):
        READERS[name](str(tmp_path / name))


def test_an_image_with_two_labels_is_refused(tmp_path):
    path = write(tmp_path / 'list.txt', 'a.jpg 0\nb.jpg 1\n\na.jpg 1\n')
    with pytest.raises(ValueError, match=rf'{path}: a\.jpg has the label 0 in line 1 and 1 in line 4; expected'):
        read_list(path)
    double = [dict(image_id=9, category_id=0), dict(image_id=9, category_id=2)]
    with pytest.raises(ValueError, match=r'b\.jpg has the label 0 in annotations\[0\] and 2 in annotations\[1\]'):
        read_competition_json(competition(tmp_path, annotations=double), 4)


@pytest.mark.parametrize('spelling', ['./a/b.jpg', 'x/../a/b.jpg', 'a//b.jpg', 'a/./b.jpg'])
def test_two_spellings_of_a_path_are_one_image(spelling, tmp_path, monkeypatch):
    path = write(tmp_path / 'list.txt', f'a/b.jpg 0\n{spelling} 1\n')
    with pytest.raises(
        ValueError, match=rf'{spelling} has the label 0 in line 1 as a/b\.jpg and 1 in line 2; expected'
    ):
        read_list(path)
    logged = []
    monkeypatch.setattr('mmrecall.datasets.label_lists.print_log', lambda text, **options: logged.append(text))
    images = read_list(write(tmp_path / 'list.txt', f'a/b.jpg 0\n{spelling} 0\n../a/b.jpg 1\n')).images
    assert [image.path for image in images] == ['a/b.jpg', spelling, '../a/b.jpg']
    assert len(logged) == 1


def test_an_image_that_is_listed_again_is_warned_of(tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr('mmrecall.datasets.label_lists.print_log', lambda text, **options: logged.append(text))
    path = write(tmp_path / 'list.txt', 'a.jpg 0\nb.jpg 1\na.jpg 0\na.jpg 0\n')
    assert len(read_list(path).images) == 4
    assert logged == [
        f'{path} lists 2 image(s) more than once, first a.jpg in line 1 and line 3: training and tests use them as '
        'often'
    ]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(images=COMPETITION['images'] * 2), r'images\[2\]: the id 7 occurs twice'),
        (dict(images=dict(id=7)), "has no 'images'"),
        (dict(images=[7]), r"images\[0\]: got 7; expected an object with 'id'"),
        (dict(images=[dict(id=[7], file_name='a')]), r'images\[0\]: got id=\[7\]; expected an integer or a string'),
        (dict(images=[dict(id=7, file_name=None)]), r'images\[0\]: got file_name=None; expected a string'),
        (dict(annotations=[dict(image_id=7, category_id=True)]), r'got category_id=True; expected an integer'),
        (dict(categories=[dict(id=0, name=7)]), r'categories\[0\]: got name=7'),
    ],
)
def test_parts_of_the_json_that_are_of_another_kind_are_named(changes, message, tmp_path):
    with pytest.raises(ValueError, match=rf'train2018\.json.*{message}'):
        read_competition_json(competition(tmp_path, **changes), 4)


def test_json_that_is_cut_off_or_nested_without_end_is_named(tmp_path):
    for text in (json.dumps(COMPETITION)[:-20], '[' * 100_000, '1' * 5000):
        with pytest.raises(ValueError, match=r'a\.json (is not JSON|has no)'):
            read_competition_json(write(tmp_path / 'a.json', text), 4)


def test_a_label_of_thousands_of_digits_is_no_label(tmp_path):
    with pytest.raises(ValueError, match=r'line 1: got .*; expected "path label"') as caught:
        read_list(write(tmp_path / 'list.txt', 'a.jpg ' + '1' * 5000))
    assert len(str(caught.value)) < 1000


def test_a_file_of_class_names_without_names_is_named(tmp_path):
    with pytest.raises(ValueError, match=r'classes\.txt names no classes'):
        read_class_names(write(tmp_path / 'classes.txt', ' \n\n'))
    with pytest.raises(ValueError, match=r'classes\.txt, line 2: got nothing after the tab'):
        read_class_names(write(tmp_path / 'classes.txt', 'n01\tcat\nn02\t\n'))
