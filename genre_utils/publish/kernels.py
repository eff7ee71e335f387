"""Kernels that start warm: copies of one process that has already imported what the chapters import.

A fresh kernel spends ten seconds on its imports, six chapters a minute, and each holds its own copy of the libraries in
memory. Used by :mod:`genre_utils.publish.run` on Linux, where forking such a process is safe; elsewhere kernels start afresh.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from importlib.metadata import EntryPoint
from multiprocessing import forkserver
from typing import Any

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

#: What chapters import, or their libraries import at first use.
SHARED = ["genre_utils.chapter", "genre_utils.training", "genre_utils.plots", "genre_utils.comparison", "librosa.feature",
          "librosa.display", "seaborn", "sklearn.model_selection", "sklearn.linear_model", "sklearn.svm", "ipykernel.kernelapp",
          "matplotlib_inline.backend_inline", "torchaudio"]  # fmt: skip


def use_warm_kernels() -> None:
    """From now on, kernels that this process starts are warm ones; the process that they copy begins its imports at once."""
    factory = KernelProvisionerFactory.instance()
    if sys.platform != "linux" or factory.default_provisioner_name == "warm":
        return
    factory.provisioners["warm"] = EntryPoint("warm", f"{__name__}:WarmProvisioner", factory.GROUP_NAME)
    factory.default_provisioner_name = "warm"
    limit = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # a process that has threads must not be copied
    interrupted = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for this process: the other would tell where its imports stood
    try:
        forkserver.set_forkserver_preload(SHARED)
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, interrupted or signal.default_int_handler)
        os.environ.pop("OMP_NUM_THREADS") if limit is None else os.environ.update(OMP_NUM_THREADS=limit)


class WarmProvisioner(LocalProvisioner):
    """Starts a kernel by a fork instead of a command; in all else as the library's own."""

    async def launch_kernel(self, cmd: list[str], **options: Any) -> dict:
        if cmd[0] != sys.executable or "ipykernel_launcher" not in cmd:  # the kernel of another environment
            return await super().launch_kernel(cmd, **options)
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        context = multiprocessing.get_context("forkserver")
        process = context.Process(target=_become_kernel, args=(arguments, dict(options["env"]), str(options.get("cwd") or os.getcwd())))
        process.start()
        self.process, self.pid, self.pgid = _Handle(process), process.pid, None
        return self.connection_info


class _Handle:
    """A forked process as the library expects it: with the methods of ``subprocess.Popen``."""

    stdin = stdout = stderr = None

    def __init__(self, process: multiprocessing.process.BaseProcess):
        self.process, self.pid = process, process.pid
        self.kill, self.terminate = process.kill, process.terminate

    def poll(self) -> int | None:
        return self.process.exitcode

    def wait(self) -> int | None:
        self.process.join()
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _become_kernel(arguments: list[str], environment: dict[str, str], folder: str) -> None:
    """In the copy: take over the kernel's folder, environment and number of threads, then serve."""
    import pandas as pd
    import torch
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pd.set_option("display.max_columns", 20)  # as when a notebook imports it; outside it takes a terminal's width
    torch.set_num_threads(int(environment.get("OMP_NUM_THREADS") or torch.get_num_threads()))
    IPKernelApp.launch_instance([*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])
