"""The GPU kernels compile ahead of time, which needs no GPU: without spilled registers and without atomics."""

import re
import subprocess
from pathlib import Path

import pytest

triton = pytest.importorskip('triton')
pytest.importorskip('triton.backends.compiler')

import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from mmrecall.functional.backends.gpu import dense_kernels, parts, row_kernels  # noqa: E402
from mmrecall.functional.backends.gpu.launch import INTERPRETED, dense_tiles, row_shape, row_tiles  # noqa: E402

PTXAS = next(Path(triton.__file__).parent.rglob('ptxas'), None)
pytestmark = [
    pytest.mark.skipif(PTXAS is None, reason='this Triton comes without ptxas'),
    pytest.mark.skipif(INTERPRETED, reason='the kernels are interpreted in this process'),
]

POINTERS = dict(
    labels='i64', sample_weights='fp32', offsets='fp64', margins='fp32', lse_out='fp32', losses_out='fp32',
    losses='fp32', counts='i32', predicted='i32', lse='fp32', incoming='fp32', predictions_out='i16',
    sample_losses='fp32', sample_predictions='i16', loss_sums='fp32', count_sums='i64',
)  # fmt: skip
NUMBERS = dict(ignore_index='i32', scale='fp32')
OPTIONAL = ('sample_weights', 'offsets', 'margins', 'losses_out', 'predicted')
ARCHITECTURES = {80: 'sm_80', 90: 'sm_90a'}


def compiled(kernel, architecture, constants, dtype='fp32', warps=4):
    """PTX, and the report of ptxas on registers."""
    pointers = {name: f'*{kind}' for name, kind in dict(POINTERS, logits=dtype, gradient=dtype).items()}
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}
    kinds = {name: pointers.get(name) or NUMBERS.get(name, 'i32') for name in names}
    signature = {name: 'constexpr' if name in constants else kind for name, kind in kinds.items()}
    # as for maps whose sizes are multiples of 16
    whole = [name for name in names if signature[name] == 'i32' and name not in ('ignore_index', 'num_blocks')]
    aligned = [name for name in names if signature[name].startswith('*')] + whole
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [['tt.divisibility', 16]] for name in aligned},
    )
    ptx = triton.compile(source, target=GPUTarget('cuda', architecture, 32), options=dict(num_warps=warps)).asm['ptx']
    command = [str(PTXAS), '-v', f'-arch={ARCHITECTURES[architecture]}', '-', '-o', '/dev/null']
    return ptx, subprocess.run(command, input=ptx, capture_output=True, text=True, check=True).stderr


def spilled_bytes(report):
    """Bytes of registers stored to memory, of every kernel in a report of ptxas."""
    spills = [int(number) for number in re.findall(r'(\d+) bytes spill stores', report)]
    assert spills, report
    return sum(spills)


def assert_lean(kernel, architecture, constants, dtype='fp32', warps=4):
    ptx, report = compiled(kernel, architecture, constants, dtype, warps)
    assert spilled_bytes(report) == 0, report
    assert re.findall(r'\b(?:atom|red)\.\S+', ptx) == []
    return ptx


def flags(everything):
    """All options on, or none; a missing tensor is None."""
    names = ('ADJUSTED', 'HITS', 'PREDICTIONS', 'EACH')
    return dict.fromkeys(names, everything) | ({} if everything else dict.fromkeys(OPTIONAL))


@pytest.mark.parametrize('architecture', ARCHITECTURES)
@pytest.mark.parametrize('dtype', ['fp32', 'bf16'])
@pytest.mark.parametrize('classes', [19, 150])
@pytest.mark.parametrize('everything', [False, True])
def test_dense_kernels_spill_nothing_and_have_no_atomics(architecture, dtype, classes, everything):
    tiles = dense_tiles(classes)
    common = dict(flags(everything), C=classes, WITHIN_IMAGE=not everything, AHEAD=tiles.ahead, stride_p=1, out_p=1)
    if not everything:
        # the most frequent case: recall counts hits
        common['HITS'] = True
    forward = dict(common, BLOCK=tiles.block)
    backward = dict(common, BLOCK=tiles.backward_block)
    assert_lean(dense_kernels.dense_forward, architecture, forward, dtype, tiles.warps)
    assert_lean(dense_kernels.dense_backward, architecture, backward, dtype, tiles.backward_warps)
    sums = dict(common, BLOCK=1024)
    assert_lean(parts.add_up_blocks, architecture, sums)


@pytest.mark.parametrize('architecture', ARCHITECTURES)
@pytest.mark.parametrize('dtype', ['fp32', 'bf16'])
@pytest.mark.parametrize(('samples', 'classes'), [(128, 8142), (2**20, 150)])
@pytest.mark.parametrize('everything', [False, True])
def test_row_kernels_spill_nothing_and_have_no_atomics(architecture, dtype, samples, classes, everything):
    tiles = row_tiles(classes)
    common = dict(flags(everything), C=classes, P=1, stride_p=0, FINAL=not everything)
    if everything:
        common['CLASSES'] = tiles.classes
    else:
        # without hits no predictions are stored
        common.update(dict.fromkeys(('predictions_out', 'sample_predictions', 'losses', 'counts')), num_blocks=1)
        common.pop('losses_out')
    rows, columns, warps = row_shape(samples, classes, tiles.scores, tiles)
    forward = dict(common, ROWS=rows, COLUMNS=columns)
    forward = {name: value for name, value in forward.items() if name not in ('losses', 'counts')}
    assert_lean(row_kernels.row_forward, architecture, forward, dtype, warps)
    sums = dict(common, CLASSES=tiles.classes, SAMPLES=tiles.samples, PER_BLOCK=tiles.per_block)
    assert_lean(row_kernels.sum_rows, architecture, sums)
    rows, columns, warps = row_shape(samples, classes, tiles.backward_scores, tiles)
    assert_lean(row_kernels.row_backward, architecture, dict(common, ROWS=rows, COLUMNS=columns), dtype, warps)


@pytest.mark.parametrize('dtype', ['fp32', 'bf16'])
def test_neighbours_are_read_and_written_together(dtype):
    tiles = dense_tiles(19)
    constants = dict(flags(False), C=19, WITHIN_IMAGE=True, AHEAD=tiles.ahead, stride_p=1, out_p=1)
    ptx, _ = compiled(dense_kernels.dense_forward, 90, dict(constants, BLOCK=tiles.block), dtype, tiles.warps)
    vector = r'ld\.global\S*\.v4\.b32' if dtype == 'fp32' else r'ld\.global\S*\.v2\.b32'
    assert re.search(vector, ptx)
    backward = dict(constants, BLOCK=tiles.backward_block)
    ptx, _ = compiled(dense_kernels.dense_backward, 90, backward, dtype, tiles.backward_warps)
    assert re.search(vector.replace('ld', 'st'), ptx)


@triton.jit
def atomic_kernel(losses, C: tl.constexpr):
    tl.atomic_add(losses + tl.arange(0, C) % 2, 1.0)


def test_spills_and_atomics_are_found_where_there_are_some():
    constants = dict(flags(True), C=19, WITHIN_IMAGE=True, AHEAD=True, BLOCK=1024)
    _, report = compiled(dense_kernels.dense_forward, 90, constants, warps=1)
    assert spilled_bytes(report) > 0
    with pytest.raises(AssertionError, match=r'atom\.|red\.'):
        assert_lean(atomic_kernel, 90, dict(C=64))
