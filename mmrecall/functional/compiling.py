"""Whether PyTorch's compiler traces the call."""

import torch

# PyTorch 2.1 has it elsewhere; its compiler knows either
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling
