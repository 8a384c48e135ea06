"""The kernels of low-resolution logits compile for GPUs without one: no spilled registers, no atomics."""

import re
import subprocess
from pathlib import Path

import pytest

triton = pytest.importorskip('triton')
compiler = pytest.importorskip('triton.compiler')

from triton.backends.compiler import GPUTarget  # noqa: E402

from mmrecall.functional.backends.gpu import low_resolution_kernels as kernels  # noqa: E402
from mmrecall.functional.backends.gpu.launch import INTERPRETED  # noqa: E402
from mmrecall.functional.backends.gpu.low_resolution import tiles_of  # noqa: E402

PTXAS = next(Path(triton.__file__).parent.rglob('ptxas'), None)
pytestmark = [
    pytest.mark.skipif(PTXAS is None, reason='this Triton comes without ptxas'),
    pytest.mark.skipif(INTERPRETED, reason='interpreted'),
]

POINTERS = dict(
    labels='i64', sample_weights='fp32', offsets='fp64', margins='fp32', lse_out='fp32', losses_out='fp32',
    losses='fp32', counts='i32', predicted='i32', lse='fp32', incoming='fp32', corners='fp32',
)  # fmt: skip
OPTIONAL = ('sample_weights', 'offsets', 'margins', 'losses_out', 'predicted')
ARCHITECTURES = {80: 'sm_80', 90: 'sm_90a'}


def compiled(kernel, architecture, constants, dtype, warps):
    """The compiled kernel, and the report of ptxas on registers."""
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}
    pointers = {name: f'*{kind}' for name, kind in dict(POINTERS, logits=dtype, gradient=dtype).items()}
    kinds = {name: pointers.get(name) or ('fp32' if name == 'scale' else 'i32') for name in names}
    signature = {name: 'constexpr' if name in constants else kind for name, kind in kinds.items()}
    # as for maps whose sizes are multiples of 16
    whole = [p.name for p in kernel.params if signature[p.name] == 'i32' and not p.do_not_specialize]
    aligned = [name for name in names if signature[name].startswith('*')] + whole
    source = compiler.ASTSource(
        fn=kernel,
        signature=signature,
        constexprs={(names.index(name),): value for name, value in constants.items()},
        attrs={(names.index(name),): [['tt.divisibility', 16]] for name in aligned},
    )
    target = GPUTarget('cuda', architecture, 32)
    asm = triton.compile(source, target=target, options=dict(num_warps=warps)).asm
    command = [str(PTXAS), '-v', f'-arch={ARCHITECTURES[architecture]}', '-', '-o', '/dev/null']
    report = subprocess.run(command, input=asm['ptx'], capture_output=True, text=True, check=True).stderr
    return asm, report


def assert_lean(kernel, architecture, constants, dtype, warps):
    asm, report = compiled(kernel, architecture, constants, dtype, warps)
    assert re.findall(r'(\d+) bytes spill stores', report) == ['0'], report
    assert re.findall(r'\b(?:atom|red)\.\S+', asm['ptx']) == []
    return asm


def constants_of(classes, everything):
    """All options on, or none but the hits, which recall counts; a missing tensor is None."""
    tiles = tiles_of(classes)
    options = dict.fromkeys(('ADJUSTED', 'HITS', 'PREDICTIONS', 'EACH'), everything)
    blocks = dict(C=classes, BLOCK=tiles.block, CLASSES=tiles.classes, QUADS=tiles.quads)
    return dict(options, HITS=True, **blocks, **({} if everything else dict.fromkeys(OPTIONAL)))


@pytest.mark.parametrize(('architecture', 'dtype'), [(80, 'bf16'), (90, 'bf16'), (90, 'fp32')])
@pytest.mark.parametrize('classes', [19, 150])
@pytest.mark.parametrize('everything', [False, True])
def test_kernels_spill_nothing_and_have_no_atomics(architecture, dtype, classes, everything):
    constants, tiles = constants_of(classes, everything), tiles_of(classes)
    assert_lean(kernels.low_resolution_forward, architecture, constants, dtype, tiles.warps)
    assert_lean(kernels.low_resolution_backward, architecture, constants, dtype, tiles.backward_warps)


@pytest.mark.parametrize(('architecture', 'dtype'), [(80, 'fp16'), (90, 'bf16'), (90, 'fp32')])
def test_the_kernel_that_adds_up_corners_is_as_lean(architecture, dtype):
    assert_lean(kernels.fold_corners, architecture, dict(ROWS=4, COLUMNS=128), dtype, 4)


def test_many_classes_spill_nothing():
    constants, tiles = constants_of(8192, True), tiles_of(8192)
    assert_lean(kernels.low_resolution_forward, 90, constants, 'bf16', tiles.warps)
    assert_lean(kernels.low_resolution_backward, 90, constants, 'bf16', tiles.backward_warps)


@pytest.mark.parametrize('dtype', ['fp32', 'bf16'])
def test_a_thread_holds_one_quad_and_labels_cross_no_threads(dtype):
    asm = assert_lean(kernels.low_resolution_backward, 90, constants_of(19, False), dtype, 1)
    assert re.search(r'sizePerThread = \[1, 1\], threadsPerWarp = \[1, 32\]', asm['ttgir'])
    assert not re.search(r'\bld\.shared|\bst\.shared', asm['ptx'])
