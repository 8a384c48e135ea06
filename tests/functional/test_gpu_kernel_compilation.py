"""The GPU kernels compile ahead of time, which needs no GPU: without spilled registers and without atomics."""

import re
import subprocess
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest
from packaging.version import Version

triton = pytest.importorskip('triton')
pytest.importorskip('triton.backends.compiler')

import triton.language as tl  # noqa: E402
from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from mmrecall.functional.backends.gpu import dense_kernels, low_resolution_kernels, parts, row_kernels  # noqa: E402
from mmrecall.functional.backends.gpu.dense import ROW_TILES, dense_tiles, row_shape  # noqa: E402
from mmrecall.functional.backends.gpu.launch import INTERPRETED  # noqa: E402
from mmrecall.functional.backends.gpu.low_resolution import TILES  # noqa: E402

CUOBJDUMP = next(Path(triton.__file__).parent.rglob('cuobjdump'), None)
pytestmark = [
    pytest.mark.skipif(CUOBJDUMP is None, reason='this Triton comes without cuobjdump'),
    pytest.mark.skipif(INTERPRETED, reason='the kernels are interpreted in this process'),
]

POINTERS = dict(
    labels='i64', sample_weights='fp32', offsets='fp64', margins='fp32', lse_out='fp32', losses_out='fp32',
    losses='fp32', counts='i32', predicted='i32', lse='fp32', incoming='fp32', predictions_out='i16',
    sample_losses='fp32', sample_predictions='i16', loss_sums='fp32', count_sums='fp64', corners='fp32',
)  # fmt: skip
NUMBERS = dict(ignore_index='i32', scale='fp32')
OPTIONAL = ('sample_weights', 'offsets', 'margins', 'losses_out', 'predicted')
# types are read in the same way on both
CASES = pytest.mark.parametrize(('architecture', 'dtype'), [(80, 'bf16'), (90, 'bf16'), (90, 'fp32')])


def compiled(kernel, architecture, constants, dtype='fp32', warps=4):
    """The forms of a compiled kernel by their names: ttgir, ptx, cubin and others."""
    pointers = {name: f'*{kind}' for name, kind in dict(POINTERS, logits=dtype, gradient=dtype).items()}
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}
    kinds = {name: pointers.get(name) or NUMBERS.get(name, 'i32') for name in names}
    signature = {name: 'constexpr' if name in constants else kind for name, kind in kinds.items()}
    # as for maps whose sizes are multiples of 16
    whole = [p.name for p in kernel.params if signature[p.name] == 'i32' and not p.do_not_specialize]
    aligned = [name for name in names if signature[name].startswith('*')]
    aligned += [name for name in whole if name not in ('ignore_index', 'num_blocks')]
    source = ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [['tt.divisibility', 16]] for name in aligned},
    )
    return triton.compile(source, target=GPUTarget('cuda', architecture, 32), options=dict(num_warps=warps)).asm


def stack_bytes(asm):
    """Bytes of the stack of a compiled kernel; the stack is where spilled registers go."""
    with NamedTemporaryFile() as file:
        Path(file.name).write_bytes(asm['cubin'])
        command = [str(CUOBJDUMP), '--dump-resource-usage', file.name]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (stack,) = re.findall(r'\bSTACK:(\d+)', report)
    return int(stack)


def assert_lean(kernel, architecture, constants, dtype='fp32', warps=4):
    asm = compiled(kernel, architecture, constants, dtype, warps)
    assert stack_bytes(asm) == 0
    assert re.findall(r'\b(?:atom|red)\.\S+', asm['ptx']) == []
    return asm


def flags(everything):
    """All options on, or none but the hits, which recall counts; a missing tensor is None."""
    options = dict.fromkeys(('ADJUSTED', 'PREDICTIONS', 'EACH'), everything)
    return options | dict(HITS=True) | ({} if everything else dict.fromkeys(OPTIONAL))


def dense_flags(everything, classes):
    return dict(flags(everything), C=classes, WITHIN_IMAGE=not everything, stride_p=1, out_p=1)


# classes are a loop: their number makes a difference by the tiles alone
@pytest.mark.parametrize('classes', [19, 150])
@pytest.mark.parametrize('everything', [False, True])
@CASES
def test_dense_kernels_spill_nothing_and_have_no_atomics(architecture, dtype, classes, everything):
    constants, tiles = dense_flags(everything, classes), dense_tiles(classes)
    assert_lean(dense_kernels.dense_forward, architecture, dict(constants, BLOCK=tiles.block), dtype, tiles.warps)
    backward = dict(constants, BLOCK=tiles.backward_block)
    assert_lean(dense_kernels.dense_backward, architecture, backward, dtype, tiles.backward_warps)


@pytest.mark.parametrize(('samples', 'classes', 'everything'), [(128, 8142, True), (2**20, 150, False)])
@CASES
def test_row_kernels_spill_nothing_and_have_no_atomics(architecture, dtype, samples, classes, everything):
    constants = dict(flags(everything), C=classes, P=1, stride_p=0)
    # the losses of the samples are always stored
    constants.pop('losses_out', None)
    rows, columns, warps = row_shape(samples, classes, ROW_TILES.scores)
    assert_lean(row_kernels.row_forward, architecture, dict(constants, ROWS=rows, COLUMNS=columns), dtype, warps)
    rows, columns, warps = row_shape(samples, classes, ROW_TILES.backward_scores)
    assert_lean(row_kernels.row_backward, architecture, dict(constants, ROWS=rows, COLUMNS=columns), dtype, warps)


@pytest.mark.parametrize('everything', [False, True])
@CASES
def test_low_resolution_kernels_spill_nothing_and_have_no_atomics(architecture, dtype, everything):
    constants = dict(flags(everything), C=19, BLOCK=TILES.block, CLASSES=TILES.classes, QUADS=TILES.quads)
    assert_lean(low_resolution_kernels.low_resolution_forward, architecture, constants, dtype, TILES.warps)
    assert_lean(low_resolution_kernels.low_resolution_backward, architecture, constants, dtype, 1)


@pytest.mark.skipif(
    Version(triton.__version__) < Version('3.7'), reason='Triton before 3.7 spreads the classes of a quad over threads'
)
@pytest.mark.parametrize('everything', [False, True])
@CASES
def test_a_thread_holds_one_quad_and_labels_cross_no_threads(architecture, dtype, everything):
    constants = dict(flags(everything), C=19, CLASSES=TILES.classes, QUADS=TILES.quads)
    asm = compiled(low_resolution_kernels.low_resolution_backward, architecture, constants, dtype, 1)
    assert re.search(r'sizePerThread = \[1, 1\], threadsPerWarp = \[1, 32\]', asm['ttgir'])
    assert not re.search(r'\bld\.shared|\bst\.shared', asm['ptx'])


@pytest.mark.parametrize('everything', [False, True])
def test_kernels_that_add_up_spill_nothing_and_have_no_atomics(everything):
    constants = dict(flags(everything), C=150)
    assert_lean(parts.add_up_blocks, 90, dict(constants, BLOCK=1024))
    tiles = dict(CLASSES=ROW_TILES.classes, SAMPLES=ROW_TILES.samples, PER_BLOCK=ROW_TILES.per_block)
    # a single block has no sums of blocks; without hits no predictions are stored
    missing = {} if everything else dict.fromkeys(('sample_predictions', 'losses', 'counts'))
    assert_lean(row_kernels.sum_rows, 90, dict(constants, **tiles, **missing, FINAL=not everything))
    dtype = 'fp32' if everything else 'bf16'
    assert_lean(low_resolution_kernels.fold_corners, 90, dict(ROWS=4, COLUMNS=128), dtype)


@pytest.mark.parametrize('dtype', ['fp32', 'bf16'])
def test_neighbours_are_read_and_written_together(dtype):
    constants, tiles = dense_flags(False, 19), dense_tiles(19)
    asm = compiled(dense_kernels.dense_forward, 90, dict(constants, BLOCK=tiles.block), dtype, tiles.warps)
    vector = r'ld\.global\S*\.v4\.b32' if dtype == 'fp32' else r'ld\.global\S*\.v2\.b32'
    assert re.search(vector, asm['ptx'])
    backward = dict(constants, BLOCK=tiles.backward_block)
    asm = compiled(dense_kernels.dense_backward, 90, backward, dtype, tiles.backward_warps)
    assert re.search(vector.replace('ld', 'st'), asm['ptx'])


@triton.jit
def atomic_kernel(losses, C: tl.constexpr):
    tl.atomic_add(losses + tl.arange(0, C) % 2, 1.0)


def test_spills_and_atomics_are_found_where_there_are_some():
    constants = dict(dense_flags(True, 19), BLOCK=1024)
    assert stack_bytes(compiled(dense_kernels.dense_forward, 90, constants, warps=1)) > 0
    with pytest.raises(AssertionError, match=r'atom\.|red\.'):
        assert_lean(atomic_kernel, 90, dict(C=64))
