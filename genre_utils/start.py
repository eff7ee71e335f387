"""How every chapter begins: check the parameters, set the style, say in which world we are."""

from __future__ import annotations

import logging
import os
import platform
import warnings

from genre_utils.device import default_device
from genre_utils.profiles import Profile, check_seed, get_profile

# tqdm asks for ipywidgets, which the book does without: its plain bars are what we want.
warnings.filterwarnings("ignore", message="IProgress not found")


def device_line() -> str:
    """Device and versions in one line, for the first cell of a chapter."""
    import torch
    import torchaudio
    import transformers

    device = default_device()
    name = torch.cuda.get_device_name() if device == "cuda" else f"{os.cpu_count()} cores"
    versions = f"torch {torch.__version__}, torchaudio {torchaudio.__version__}, transformers {transformers.__version__}"
    return f"{device} ({name}) · Python {platform.python_version()} · {versions}"


def begin(profile: str, seed: object) -> tuple[Profile, int]:
    """Check the parameters of a chapter, set the style of its figures, and quieten the libraries.

    Returns
    -------
    (Profile, int)
        The profile called `profile`, and `seed` as a number.

    Raises
    ------
    ProfileError
        If there is no such profile, or the seed is not a whole number.
    """
    from threadpoolctl import threadpool_limits
    from transformers.utils import logging as transformers_logging

    from genre_utils.plots import set_style

    chosen, number = get_profile(profile), check_seed(seed)
    set_style()
    # NumPy's and SciPy's matrices are small here: two threads of BLAS waiting for each other take several times longer.
    threadpool_limits(1, user_api="blas")
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("genre_utils").setLevel(logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    print(f"profile {chosen.name}, seed {number}: {chosen.about}.")
    if chosen.corpus == "synthetic":
        print("Every number below is about this synthetic corpus, not about GTZAN.")
    return chosen, number
