import os

import musicgen_service  # noqa: F401  (sets how OpenMP's threads wait, which must be before torch is loaded)

# isort: split
import torch

if not torch.cuda.is_available():
    # Triton asks for it when it is imported: its interpreter runs the kernels, which otherwise need a GPU.
    os.environ["TRITON_INTERPRET"] = "1"
