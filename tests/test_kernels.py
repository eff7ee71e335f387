"""Kernels that are copies of one process: they have the imports, their own folder, environment and threads, and can die."""

import asyncio
import os
import sys

import pytest
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning import KernelProvisionerFactory

from genre_utils.publish.kernels import use_warm_kernels

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="kernels start afresh on other systems than Linux")


@pytest.fixture
def warm(monkeypatch):
    monkeypatch.setattr(KernelProvisionerFactory.instance(), "default_provisioner_name", "local-provisioner")
    use_warm_kernels()


async def answer(code: str, folder, environment: dict[str, str], then=None, specs=None) -> tuple[str, AsyncKernelManager]:
    """What a warm kernel prints when it runs `code`; `then` is done before it is shut down."""
    manager = AsyncKernelManager(kernel_name="python3", **({"kernel_spec_manager": specs} if specs else {}))
    await manager.start_kernel(cwd=str(folder), env=os.environ | environment, stdout=None)
    client = manager.client()
    client.start_channels()
    said = []
    try:
        await client.wait_for_ready(timeout=120)
        await client.execute_interactive(code, timeout=60, output_hook=lambda m: said.append(m["content"].get("text", "")))
        if then:
            await then(manager)
    finally:
        client.stop_channels()
        if await manager.is_alive():
            await manager.shutdown_kernel(now=True)
    return "".join(said), manager


def test_a_kernel_has_the_imports_and_its_own_folder_environment_and_threads(warm, tmp_path):
    code = (
        "import sys, os; loaded = 'genre_utils.training' in sys.modules\n"
        "import torch; print(loaded, os.getcwd(), os.environ['MARK'], torch.get_num_threads(), os.environ['OMP_NUM_THREADS'])"
    )
    for threads in ("1", "2"):
        said, _ = asyncio.run(answer(code, tmp_path, {"MARK": f"m{threads}", "OMP_NUM_THREADS": threads}))
        assert said.split() == ["True", str(tmp_path), f"m{threads}", threads, threads]


def test_a_kernel_that_dies_is_noticed_and_the_next_one_starts(warm, tmp_path):
    async def die(manager: AsyncKernelManager) -> None:
        os.kill(manager.provisioner.pid, 9)
        for _ in range(100):
            if not await manager.is_alive():
                return
            await asyncio.sleep(0.1)
        raise AssertionError("the death was not noticed")

    asyncio.run(answer("print(1)", tmp_path, {}, then=die))
    assert asyncio.run(answer("print(2)", tmp_path, {}))[0].strip() == "2"


def test_a_kernel_of_another_python_is_that_pythons(warm, tmp_path):
    import json

    from jupyter_client.kernelspec import KernelSpecManager

    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    other.chmod(0o755)
    spec = {"argv": [str(other), "-m", "ipykernel_launcher", "-f", "{connection_file}"], "display_name": "other", "language": "python"}
    (tmp_path / "kernels" / "python3").mkdir(parents=True)
    (tmp_path / "kernels" / "python3" / "kernel.json").write_text(json.dumps(spec))
    specs = KernelSpecManager(kernel_dirs=[str(tmp_path / "kernels")], ensure_native_kernel=False)
    code = "import sys; print('genre_utils.training' in sys.modules)"
    assert asyncio.run(answer(code, tmp_path, {}, specs=specs))[0].strip() == "False"
    assert asyncio.run(answer(code, tmp_path, {}))[0].strip() == "True"


def test_a_kernel_shows_tables_as_a_fresh_one_does(warm, tmp_path, monkeypatch):
    code = "import pandas as pd; print(*(pd.get_option(f'display.{name}') for name in ('max_columns', 'max_rows', 'width')))\n"
    code += "print(pd.DataFrame({f'a rather long name {i}': [i] for i in range(9)}))"
    copied, _ = asyncio.run(answer(code, tmp_path, {}))
    monkeypatch.setattr(KernelProvisionerFactory.instance(), "default_provisioner_name", "local-provisioner")
    fresh, _ = asyncio.run(answer(code, tmp_path, {}))
    assert copied == fresh and "20" in fresh
