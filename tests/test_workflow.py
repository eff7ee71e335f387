"""The matrix of runs: its jobs, a folder for each cell, what follows a failure, and the table at the end."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from fake_cards import make_card
from tiny_book import ROOT
from typer.testing import CliRunner

from genre_utils.errors import RunError
from genre_utils.publish import cli
from genre_utils.publish import run as book

sys.path.insert(0, str(ROOT / "workflow"))
from collect import matrix_frame

#: Stands in for the project's Python: says what it was asked, and leaves empty files where a run leaves its records.
STUB = """#!{python}
import json, os, pathlib, sys
asked = sys.argv[3:]
with open("asked", "a") as file:
    file.write(json.dumps([os.environ.get("GENRE_UTILS_RUNS"), os.environ.get("OMP_NUM_THREADS"), asked]) + "\\n")
option = dict(zip(asked, asked[1:]))
chapter, seed = option.get("--chapters"), option.get("--seed")
if chapter and pathlib.Path("broken-" + chapter).exists():
    sys.exit("chapter " + chapter + " is broken")
made = {{"1": [option["--out"] + "/01_dataset.ipynb"], None: [asked[-1]]}}
names = {{"2": ["svm", "cnn"], "4": ["musicnn", "head-only"], "5": ["full"]}}.get(chapter, [])
folder = pathlib.Path(option.get("--records", ""))
for path in made.get(chapter) or [folder / (name + "-seed" + seed + ".json") for name in names]:
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text("")
"""


@pytest.fixture(scope="session")
def snakemake() -> Path:
    program = Path("build", "snakemake", "bin", "snakemake")
    command = ["make", "--silent", str(program), f"PYTHON={sys.executable}"]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        errors = [line for line in made.stderr.splitlines() if line.startswith("ERROR")] or ["make failed"]
        pytest.skip(f"Snakemake cannot be installed here: {errors[-1]}")
    return ROOT / program


@pytest.fixture(scope="session")
def plugins(snakemake):
    """Install what Snakemake needs for a kind of cluster, as ``make matrix CLUSTER=...`` does."""

    def install(cluster: str) -> None:
        command = ["make", "--silent", f"build/snakemake/.{cluster}"]
        made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if made.returncode:
            pytest.skip(f"no plug-ins for {cluster} here: {made.stderr[-300:]}")

    return install


@pytest.fixture
def call(snakemake, tmp_path, monkeypatch):
    """Snakemake on one of the configurations, at home in a temporary folder, with the stub for a Python."""
    root = tmp_path / "book with spaces"
    root.mkdir()
    monkeypatch.setenv("GENRE_UTILS_HOME", str(root))
    python = root / "python"
    python.write_text(STUB.format(python=sys.executable), encoding="utf-8")
    python.chmod(0o755)

    def run(config: str, *settings: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
        files = [
            "--snakefile",
            ROOT / "workflow" / "Snakefile",
            "--configfile",
            ROOT / "workflow" / "config" / config,
        ]
        command = [snakemake, *files, "--cores", "2", "--config", f"python={python}", *settings, *options]
        return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)

    run.root = root
    return run


def jobs(call, config: str, *settings: str) -> dict[str, int]:
    """How many jobs of each rule Snakemake would run."""
    shown = call(config, *settings, options=("--dry-run", "--quiet", "rules", "reason"))
    said = shown.stdout + shown.stderr
    assert shown.returncode == 0, said
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", said, re.MULTILINE)}


# --- Jobs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("small.yaml", {"data_set": 1, "baselines": 1, "head_only": 1, "table": 1, "all": 1, "total": 5}),
        # 4 splits x 5 seeds, and for the networks x 2 backbones
        (
            "full.yaml",
            {"data_set": 1, "baselines": 20, "head_only": 40, "full": 40, "table": 1, "all": 1, "total": 103},
        ),
    ],
)
def test_each_cell_has_its_jobs_and_chapter_2_is_not_repeated_for_each_backbone(call, config, expected):
    assert jobs(call, config) == expected


@pytest.mark.parametrize("cluster", ["slurm", "kubernetes"])
def test_a_cluster_gets_the_same_jobs(call, plugins, cluster):
    plugins(cluster)
    profile = ROOT / "workflow" / "profiles" / cluster
    shown = call("full.yaml", options=("--workflow-profile", str(profile), "--dry-run", "--quiet", "rules"))
    said = shown.stdout + shown.stderr
    assert shown.returncode == 0 and re.search(r"^total +103$", said, re.MULTILINE), said


#: Has the plug-in write what it would send to a cluster for one job: settings and resources come in, a job goes out.
RENDER = """
import json, sys
from types import SimpleNamespace as Any
from kubernetes.client import ApiClient
from snakemake_executor_plugin_kubernetes import Executor, parse_persistent_volumes
image, volume, resources = json.loads(sys.argv[1])
sent = []
job = Any(jobid=1, attempt=1, is_containerized=False, resources=resources)
executor = Any(
    format_job_exec=lambda job: "true", run_namespace="", container_image=image, k8s_cpu_scalar=1.0, privileged=False,
    persistent_volumes=parse_persistent_volumes([volume]), k8s_service_account_name=None, secret_envvars={}, namespace="",
    logger=Any(debug=lambda said: None, info=lambda said: None), _kubernetes_retry=lambda act: act(),
    batchapi=Any(create_namespaced_job=lambda namespace, body: sent.append(body)),
    report_job_submission=lambda submitted: None,
)
Executor.run_job(executor, job)
print(json.dumps(ApiClient().sanitize_for_serialization(sent[0])))
"""


def test_a_pod_has_the_image_a_gpu_and_the_claim_where_the_book_keeps_its_data(snakemake, plugins):
    plugins("kubernetes")
    profile, matrix = (
        yaml.safe_load((ROOT / "workflow" / path).read_text(encoding="utf-8"))
        for path in ("profiles/kubernetes/config.yaml", "config/full.yaml")
    )
    container = (ROOT / "workflow" / "Containerfile").read_text(encoding="utf-8")
    home = re.search(r"GENRE_UTILS_HOME=(\S+)", container)[1]
    resources = profile["default-resources"] | matrix["resources"] | {"_cores": matrix["threads"]}
    given = profile["container-image"], profile["kubernetes-persistent-volumes"], resources
    command = [snakemake.with_name("python"), "-c", RENDER, json.dumps(given)]
    pod = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["spec"]["template"]["spec"]
    (ours,), (_, claim) = pod["containers"], pod["volumes"]
    assert ours["image"] == re.search("docker build .* -t (\\S+) ", container)[1]
    assert {"name": claim["name"], "mountPath": home} in ours["volumeMounts"] and "persistentVolumeClaim" in claim
    assert profile["default-storage-prefix"] == home
    assert ours["resources"]["limits"] == {"nvidia.com/gpu": "1", "cpu": "4000m", "memory": "24000M", "ephemeral-storage": "4000M"}


@pytest.mark.skipif(not shutil.which("rsync"), reason="no rsync here, with which the storage plug-in copies")
def test_a_storage_provider_finds_records_and_logs_where_it_looks_for_them(call, plugins):
    """As in a pod: what a rule leaves is first looked for in a folder of the job's own, then copied to the shared disk."""
    plugins("kubernetes")
    shared = call.root / "build"
    storage = ("--default-storage-provider", "fs", "--default-storage-prefix", str(call.root))
    done = call("small.yaml", ALL, options=storage)
    assert done.returncode == 0, done.stdout + done.stderr
    cell = shared / "matrix" / "artist-seed0-shipped" / "gtzan-mini"
    assert (cell / "full-seed0.json").is_file() and (cell / "chapter-5.log").is_file()
    assert (shared / "matrix" / "gtzan-mini.csv").is_file()
    asked = [json.loads(line) for line in (call.root / "asked").read_text(encoding="utf-8").splitlines()]
    ((runs, _, words),) = [one for one in asked if ["--chapters", "5"] == one[2][7:9]]
    assert runs == str(cell.parent), "models stay on the shared disk"
    assert not Path(words[words.index("--records") + 1]).is_absolute()


def test_each_cell_has_a_folder_of_its_own(call):
    lines = call("full.yaml", options=("--summary",)).stdout.splitlines()
    made = defaultdict(list)
    for row in csv.DictReader(lines, delimiter="\t"):
        made[Path(row["output_file"]).parents[1].name].append(Path(row["output_file"]).name)
    config = yaml.safe_load((ROOT / "workflow" / "config" / "full.yaml").read_text(encoding="utf-8"))
    for split in config["splits"]:
        for seed in config["seeds"]:
            cell = f"{split}-seed{seed}"
            assert sorted(made.pop(cell)) == [f"cnn-seed{seed}.json", f"svm-seed{seed}.json"]
            for backbone in config["backbones"]:
                names = [f"{name}-seed{seed}.json" for name in ("full", "head-only", "musicnn")]
                assert sorted(made.pop(f"{cell}-{backbone}")) == names
    assert sorted(name for names in made.values() for name in names) == [
        "01_dataset.ipynb",
        "gtzan.csv",
    ]


def test_without_a_configuration_it_says_how_to_choose_one(snakemake, tmp_path):
    command = [snakemake, "--snakefile", ROOT / "workflow" / "Snakefile", "--cores", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "--configfile workflow/config/small.yaml" in done.stdout + done.stderr


# --- Running ----------------------------------------------------------------------------------------------

ALL = "approaches=[svm,cnn,musicnn,head-only,full]"


def test_each_job_runs_its_chapter_in_its_cell(call, monkeypatch, tmp_path):
    matrix = {
        "profile": "mini",
        "approaches": ["svm", "full"],
        "splits": ["random"],
        "seeds": [7],
        "threads": 1,
    }
    mine = tmp_path / "mine.yaml"
    mine.write_text(yaml.safe_dump(matrix | {"backbones": {"mine": "lab/my model"}}), encoding="utf-8")
    done = call(mine)
    assert done.returncode == 0, done.stdout + done.stderr
    matrix = call.root / "build" / "matrix"
    asked = [json.loads(line) for line in (call.root / "asked").read_text(encoding="utf-8").splitlines()]
    assert asked.pop()[2][-2:] == ["--out", str(matrix / "mini.csv")]  # the table

    ran = []
    monkeypatch.setattr(
        book, "run_chapters", lambda run, chapters, *, out, workers: ran.append((run, chapters, out)) or [out]
    )
    kept = []
    monkeypatch.setattr(book, "copy_records", lambda run, chapters, folder: kept.append(folder))
    monkeypatch.setattr(book, "prepare", lambda *_, **__: None)
    for runs, threads, words in asked:  # the real command line understands what the jobs say
        assert CliRunner().invoke(cli.app, words).exit_code == 0
        run, (chapter,), out = ran[-1]
        assert (run.profile.name, out) == ("mini", Path(runs) / "mini" / "chapters")
        assert kept[-1] == (out if chapter.number == 1 else Path(runs) / "mini")
        cell = Path(runs).relative_to(matrix).name
        assert (chapter.number, run.seed, run.profile.split, run.profile.backbone, cell, threads) == {
            1: (1, 0, "artist", "shipped", "data", "2"),
            2: (2, 7, "random", "shipped", "random-seed7", "1"),
            4: (4, 7, "random", "lab/my model", "random-seed7-mine", "1"),
            5: (5, 7, "random", "lab/my model", "random-seed7-mine", "1"),
        }[chapter.number]
    assert [chapters[0].number for _, chapters, _ in ran] in ([1, 2, 4, 5], [1, 4, 2, 5], [1, 4, 5, 2])


def test_a_failure_names_its_log_and_the_next_run_does_only_what_is_missing(call):
    (call.root / "broken-5").touch()
    failed = call("small.yaml", ALL)
    folder = call.root / "build" / "matrix"
    said = failed.stdout + failed.stderr
    assert failed.returncode != 0 and "Error in rule full" in said and "chapter 5 is broken" in said
    assert str(folder / "artist-seed0-shipped" / "gtzan-mini" / "chapter-5.log") in said
    assert jobs(call, "small.yaml", ALL) == {"full": 1, "table": 1, "all": 1, "total": 3}

    (call.root / "broken-5").unlink()
    assert call("small.yaml", ALL).returncode == 0
    assert jobs(call, "small.yaml", ALL) == {}
    assert (folder / "gtzan-mini.csv").is_file()

    new = {"baselines": 1, "head_only": 1, "full": 1, "table": 1, "all": 1, "total": 5}
    assert jobs(call, "small.yaml", ALL, "seeds=[0,1]") == new
    (folder / "artist-seed0-shipped" / "gtzan-mini" / "head-only-seed0.json").unlink()
    assert jobs(call, "small.yaml", ALL) == {"head_only": 1, "full": 1, "table": 1, "all": 1, "total": 4}
    assert call("small.yaml", ALL).returncode == 0
    assert jobs(call, "small.yaml", ALL, "backbones={shipped: lab/other}") == {
        "head_only": 1, "full": 1, "table": 1, "all": 1, "total": 4,  # another model under a known name
    }  # fmt: skip


# --- The table --------------------------------------------------------------------------------------------


def test_the_table_has_one_row_a_run_with_its_interval(tmp_path):
    made = [
        make_card("full", seed=1, fingerprint="a").save(tmp_path / "one" / "full-seed1.json"),
        make_card("full", seed=0, fingerprint="a").save(tmp_path / "one" / "full-seed0.json"),
        make_card("full", seed=0, backbone="lab/other", fingerprint="b").save(tmp_path / "two" / "full-seed0.json"),
        make_card("svm").save(tmp_path / "svm-seed0.json"),
    ]
    table = matrix_frame(made)
    assert list(zip(table["approach"], table["backbone"], table["seed"], strict=True)) == [
        ("svm", "", 0), ("full", "lab/other", 0), ("full", "shipped", 0), ("full", "shipped", 1),
    ]  # fmt: skip
    assert set(table) >= {"split", "corpus", "accuracy", "low", "high", "macro_f1", "n"}
    assert (table["low"] < table["accuracy"]).all() and (table["accuracy"] < table["high"]).all()
    command = [sys.executable, ROOT / "workflow" / "collect.py", *made, "--out", tmp_path / "new" / "table.csv"]
    subprocess.run(command, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    (header, first, *_) = (tmp_path / "new" / "table.csv").read_text(encoding="utf-8").splitlines()
    assert (
        header == "approach,title,split,seed,backbone,corpus,accuracy,low,high,macro_f1,n"
        and first.startswith("svm,")
    )


def test_two_records_of_one_run_are_refused(tmp_path):
    with pytest.raises(RunError, match="of the same run"):
        matrix_frame([make_card("cnn").save(tmp_path / name) for name in ("one.json", "two.json")])
    with pytest.raises(RunError, match="no run record"):
        matrix_frame([])
