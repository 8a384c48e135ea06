"""`is_compiling`, which returns whether PyTorch's compiler traces the call."""

import torch

# PyTorch 2.1 has this function in torch._utils; its compiler understands both
is_compiling = getattr(torch.compiler, 'is_compiling', None) or torch._utils.is_compiling
