"""How every chapter begins: check the parameters, set the style, say in which world we are."""

from __future__ import annotations

import logging
import os
import platform
import warnings

import torch
import torchaudio
import transformers
from threadpoolctl import threadpool_limits
from transformers.utils import logging as transformers_logging

from genre_utils.device import cores, default_device, gpu_problem
from genre_utils.identity import Identity, identity

# tqdm asks for ipywidgets, which the book does without: its plain bars are what we want.
warnings.filterwarnings("ignore", message="IProgress not found")


#: Where a notebook service lets one choose a GPU, by how the names of its environment variables begin.
GPU_SWITCH = {
    "COLAB_": "Runtime > Change runtime type > T4 GPU",
    "KAGGLE_": "Settings > Accelerator > GPU T4 x2",
    "SAGEMAKER_": "the instance type at the top right, one whose name begins with ml.g",
}


def device_line() -> str:
    """Device and versions in one line, for the first cell of a chapter; where a GPU could be switched on, also how."""
    device = default_device()
    name = torch.cuda.get_device_name() if device == "cuda" else f"{cores()} core" + "s" * (cores() > 1)
    name += f"; {gpu_problem()}" if gpu_problem() else ""
    versions = ", ".join(f"{package.__name__} {package.__version__}" for package in (torch, torchaudio, transformers))
    line = f"{device} ({name}) · Python {platform.python_version()} · {versions}"
    switch = next((where for start, where in GPU_SWITCH.items() if any(n.startswith(start) for n in os.environ)), None)
    if device == "cpu" and switch:
        line += f"\nNo GPU is on. The profile gtzan needs one, the others are faster with one: choose {switch}, then run this again."
    return line


def begin(profile: str, seed: object, **options: str) -> Identity:
    """The run of :func:`genre_utils.identity.identity`; sets the style of figures and quietens the libraries."""
    from genre_utils.plots import set_style

    run = identity(profile, seed, **options)
    set_style()
    # NumPy's and SciPy's matrices are small here: two threads of BLAS waiting for each other take several times longer.
    threadpool_limits(1, user_api="blas")
    if torch.get_num_threads() > cores():  # in a container, or with a share of a batch machine
        torch.set_num_threads(cores())
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("genre_utils").setLevel(logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    print(", ".join(f"{part} {value}" for part, value in run.about.items() if part in ("profile", "seed", *options)))
    print(f"The corpus: {run.profile.about}.")
    if run.profile.corpus == "synthetic":
        print("Numbers below are about this synthetic corpus, unless they are marked as GTZAN's.")
    return run
