"""All of GTZAN from folders, Kaggle and the Hub: complete is what has been decoded; everything else is named."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import requests
import soundfile as sf
from loopback_hub import COMMIT, LoopbackHub

from genre_utils.corpora import download, fetch, gtzan
from genre_utils.errors import CacheError, CorpusError
from genre_utils.profiles import GENRES

ROOT = Path(__file__).resolve().parents[1]
CLIP_S, RATE_HZ = 0.2, 22_050
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1323632\n"
HTML = b"<!doctype html><title>Sign in</title>" + bytes(20_000)


def noise(seed, seconds=CLIP_S, rate_hz=RATE_HZ):
    return (3_000 * np.random.default_rng(seed).standard_normal(round(seconds * rate_hz))).astype(np.int16)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A stand-in of 1000 short clips with GTZAN's names; jazz.00054 is no audio, as in Kaggle's copy."""
    root = tmp_path_factory.mktemp("whole")
    for g, genre in enumerate(GENRES):
        (root / genre).mkdir()
        for number in range(100):
            sf.write(root / genre / f"{genre}.{number:05d}.wav", noise(100 * g + number), RATE_HZ)
    (root / "jazz" / "jazz.00054.wav").write_bytes(b"damaged")
    return root


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of it to be spoilt: replace files, do not write into them."""
    return Path(shutil.copytree(whole, tmp_path / "copy", copy_function=os.link))


@pytest.fixture(autouse=True)
def home(whole, tmp_path, monkeypatch):
    """An empty ``data/corpora``, no GTZAN_DIR, no kagglehub, and the first two clips of a genre for a mini subset."""
    listing = {}
    for genre in GENRES:
        for path in sorted((whole / genre).iterdir())[:2]:
            listing[path.stem] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    monkeypatch.setattr(gtzan, "CLIP_S", CLIP_S)
    monkeypatch.setattr(gtzan, "mini_listing", lambda: listing)
    monkeypatch.setenv("GENRE_UTILS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))
    monkeypatch.delenv("GTZAN_DIR", raising=False)
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    return tmp_path / "home" / "data" / "corpora"


@pytest.fixture
def kaggle(monkeypatch):
    """A stand-in for kagglehub: ``gives`` is the folder, or the error, of its one function."""
    module = ModuleType("kagglehub")
    module.gives, module.asked = None, []

    def dataset_download(handle):
        module.asked.append(handle)
        if isinstance(module.gives, Exception):
            raise module.gives
        return str(module.gives() if callable(module.gives) else module.gives)

    module.dataset_download = dataset_download
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return module


def put(path, content):
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def write(path, samples, rate_hz=RATE_HZ, **options):
    path.unlink(missing_ok=True)
    sf.write(path, samples, rate_hz, **options)


def told(**options):
    """What is said on the way to a copy, and the folder."""
    said = []
    return fetch.fetch_gtzan(progress=False, say=said.append, **options), "\n".join(said)


def refusal(**options):
    with pytest.raises(CorpusError) as error:
        told(**options)
    return str(error.value)


# --- Folders --------------------------------------------------------------------------------------------


def test_a_complete_copy_is_decoded_and_found_again_without_the_variable(whole, home, tmp_path, monkeypatch, kaggle):
    monkeypatch.setenv("GTZAN_DIR", os.pathsep.join([str(tmp_path / "none"), str(whole)]))
    root, said = told()
    assert root == whole and f"no GTZAN at {tmp_path / 'none'}" in said
    assert "complete. 1000 files" in said and "100 a genre; 999 clips were decoded: 22050 Hz" in said
    assert "20 the same as in gtzan-mini" in said and "Left out by name: jazz.00054" in said and not kaggle.asked
    monkeypatch.delenv("GTZAN_DIR")
    assert gtzan.gtzan_full().root == whole and len(gtzan.gtzan_full()) == 999
    assert told()[0] == whole and not kaggle.asked


def test_a_bad_folder_does_not_hide_a_good_one_that_is_named_too(whole, copy, monkeypatch):
    put(copy / "pop" / "pop.00099.wav", LFS)
    monkeypatch.setenv("GTZAN_DIR", os.pathsep.join([str(copy), str(whole)]))
    root, said = told()
    assert root == whole and f"of 999 clips 0 are missing in {copy}, and 1 are bad" in said


def test_au_and_upper_case_and_longer_headers_are_the_same_clips(copy, monkeypatch):
    monkeypatch.setenv("GTZAN_DIR", str(copy))
    first, second, third = (copy / "blues" / f"blues.{n:05d}.wav" for n in range(3))
    sf.write(first.with_suffix(".au"), sf.read(first, dtype="int16")[0], RATE_HZ, subtype="PCM_16")
    first.unlink()
    with sf.SoundFile(copy / "blues" / "blues.00001.WAV", "w", RATE_HZ, 1, "PCM_16", format="WAV") as file:
        file.title = "a longer header"
        file.write(sf.read(second, dtype="int16")[0])
    second.unlink()
    third.rename(third.with_suffix(".Wav"))
    assert told()[0] == copy


BAD = {
    "pointer": (lambda p: put(p, LFS), "a pointer of Git LFS"),
    "empty": (lambda p: put(p, b""), "zero bytes"),
    "page": (lambda p: put(p, HTML), "a web page"),
    "garbage": (lambda p: put(p, b"RIFF" + bytes(9_000)), "cannot be decoded as audio"),
    "slower": (lambda p: write(p, noise(1, rate_hz=16_000), 16_000), "16000 Hz, not 22050: resampled"),
    "cut": (lambda p: write(p, noise(1, 0.15)), "0.15 s long, not about 0.2 s"),
    "silent": (lambda p: write(p, np.zeros(4_410, np.int16)), "is silent from beginning to end"),
    "absent": (lambda p: p.unlink(), "missing"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_named_with_what_is_usable(copy, home, monkeypatch, kind, kaggle):
    monkeypatch.setenv("GTZAN_DIR", str(copy))
    spoil, says = BAD[kind]
    for number in range(50, 57):
        spoil(copy / "jazz" / f"jazz.{number:05d}.wav")
    text = refusal()
    lines = [line for line in text.splitlines() if "jazz.000" in line]
    assert [line.split(": ")[0].strip() for line in lines] == [
        str(copy / "jazz" / f"jazz.{number:05d}.wav") for number in (50, 51, 52, 53, 55)
    ], "the damaged clip is no fault, and five are named"
    assert all(says in line for line in lines) and "… and 1 more" in text
    others = ",".join(genre for genre in GENRES if genre != "jazz")
    assert f"With GTZAN_DIR={copy} they can be run:\n    python -m genre_utils run --profile gtzan --genres {others}\n" in text
    assert not kaggle.asked and not (home / "gtzan.where").exists(), "a bad copy that was named is not passed over"


def test_a_processed_copy_is_called_so(copy, monkeypatch):
    monkeypatch.setenv("GTZAN_DIR", str(copy))
    for path in copy.glob("*/*.0000[0-4].wav"):
        write(path, sf.read(path, dtype="int16")[0] // 2)
    text = refusal()
    assert "0 are missing" in text and "20 are bad" in text and "blues.00001.wav: its samples are not GTZAN's" in text
    assert "20 of the 20 clips that are in gtzan-mini too differ from it" in text
    assert "Complete: no genre" in text


def test_the_command_exits_2_and_names_the_pointers(tmp_path):
    for genre in GENRES:
        (tmp_path / "lfs" / "genres" / genre).mkdir(parents=True)
        for number in range(100):
            (tmp_path / "lfs" / "genres" / genre / f"{genre}.{number:05d}.wav").write_bytes(LFS)
    command = [sys.executable, "-m", "genre_utils", "fetch", "gtzan"]
    environment = os.environ | {"GTZAN_DIR": str(tmp_path / "lfs"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=200)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "blues.00000.wav: a pointer of Git LFS" in done.stderr and "… and 994 more" in done.stderr


# --- Kaggle ---------------------------------------------------------------------------------------------


def test_kaggles_copy_is_checked_and_found_again(whole, tmp_path, kaggle, home):
    kaggle.gives = tmp_path / "versions" / "1"
    shutil.copytree(whole, kaggle.gives / "Data" / "genres_original", copy_function=os.link)
    shutil.copytree(whole, home / "gtzan", copy_function=os.link)  # a bad copy that nobody named is passed over
    write(home / "gtzan" / "pop" / "pop.00050.wav", noise(1, rate_hz=16_000), 16_000)
    root, said = told()
    assert kaggle.asked == [fetch.KAGGLE]
    assert ", and 1 are bad" in said and "Kaggle: complete" in said
    assert gtzan.gtzan_full().root == root == kaggle.gives / "Data" / "genres_original"


def test_a_bad_copy_from_kaggle_is_not_noted(whole, tmp_path, kaggle, home):
    kaggle.gives = tmp_path / "empty"
    kaggle.gives.mkdir()
    assert "came from Kaggle without blues/" in refusal()
    kaggle.gives = shutil.copytree(whole, tmp_path / "bad", copy_function=os.link)
    put(Path(kaggle.gives) / "pop" / "pop.00099.wav", LFS)
    assert "pop.00099.wav: a pointer" in refusal() and not (home / "gtzan.where").exists()


def answered(code):
    return requests.HTTPError(f"{code} Client Error.\n\nYou don't", response=SimpleNamespace(status_code=code))


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (answered(401), "401 Client Error.*sign in.*KAGGLE_USERNAME and KAGGLE_KEY"),
        (answered(403), "403 Client Error.*sign in"),
        (answered(404), "404 Client Error.*not there any more"),
        (answered(503), "503 Client Error.*run it again"),
        (requests.exceptions.ChunkedEncodingError("IncompleteRead"), "IncompleteRead.*unfinished download is continued"),
        (requests.exceptions.SSLError("self-signed certificate"), "self-signed.*REQUESTS_CA_BUNDLE"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_errors_of_kaggle_are_clear(kaggle, error, says):
    kaggle.gives = error
    text = refusal()
    assert re.search(says, text), text
    assert "The Hub: not asked" in text and "--mirror OWNER/NAME@COMMIT" in text
    assert "By hand: download kaggle.com/datasets/andradaolteanu/" in text and "GTZAN_DIR" in text


def test_a_sign_in_page_is_not_continued(kaggle, tmp_path):
    """kagglehub keeps what came as the archive; the rest of the real one must not be put behind a page of HTML."""
    part = tmp_path / "kagglehub" / "datasets" / fetch.KAGGLE.partition("/versions")[0] / "1.archive"
    part.parent.mkdir(parents=True)
    part.write_bytes(HTML)
    kaggle.gives = requests.exceptions.ConnectionError("refused")
    refusal()
    assert part.exists(), "what a cut left is kept"
    kaggle.gives = ValueError("Unsupported archive type.")
    assert "perhaps the page of a sign-in or a firewall" in refusal()
    assert not part.exists()


def test_without_kagglehub_the_message_says_how_to_get_it():
    assert "pip install kagglehub" in refusal()


def test_a_server_that_never_answers_is_given_up(kaggle, monkeypatch):
    """kagglehub's first question has no time limit of its own."""
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.3)
    free = threading.Event()

    class Silent(BaseHTTPRequestHandler):
        def do_GET(self):
            free.wait(20)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        kaggle.gives = lambda: requests.get(f"http://127.0.0.1:{http.server_port}/")
        try:
            text = refusal()
        finally:
            free.set()
            http.shutdown()
    assert "Read timed out" in text
    assert requests.adapters.HTTPAdapter.send.__name__ == "send", "the library is as it was"


def test_space_is_looked_at_before_kaggle_is_asked(kaggle, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(CacheError, match=r"1.00 GB free, and 3.00 GB are needed.*KAGGLEHUB_CACHE"):
        told()
    assert not kaggle.asked


# --- The Hub --------------------------------------------------------------------------------------------

ASK = """
import sys
from genre_utils.corpora import fetch
from genre_utils.errors import CorpusError
fetch.PARQUET_SPACE = fetch.CLIPS_SPACE = 0
for mirror in sys.argv[1:]:
    try:
        print(fetch._from_hub(mirror, False))
    except CorpusError as error:
        print("error:", *str(error).splitlines())
"""


def test_a_mirror_is_named_with_its_commit():
    for mirror in ("lab/gtzan", "gtzan@0123", "lab/gtzan@"):
        assert "OWNER/NAME@COMMIT" in refusal(mirror=mirror)


@pytest.fixture(scope="module")
def repositories(whole, tmp_path_factory):
    """Data sets of parquet files as on the Hub: all clips in two files, names in another column, no names, a page."""
    pyarrow = pytest.importorskip("pyarrow", reason="mirrors are parquet files")
    from pyarrow import parquet

    def save(repo, name, rows):
        (root / "lab" / repo).mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(rows), root / "lab" / repo / name)

    root, paths = tmp_path_factory.mktemp("hub"), sorted(whole.glob("*/*.wav"))
    rows = [{"file": f"/x/{p.name}", "audio": {"bytes": p.read_bytes(), "path": p.name}, "genre": 0} for p in paths]
    outside = {"file": "", "audio": {"bytes": b"x", "path": "../../../evil.00000.wav"}, "genre": 0}
    save("gtzan", "train-0.parquet", [*rows[:500], outside])
    save("gtzan", "train-1.parquet", rows[500:])
    save("files", "train.parquet", [row | {"audio": row["audio"] | {"path": None}, "genre": "blues"} for row in rows])
    save("nameless", "train.parquet", [{"audio": row["audio"] | {"path": "1.wav"}, "genre": 0} for row in rows[:9]])
    save("large", "train.parquet", [rows[0] | {"audio": {"bytes": bytes(3_000_000), "path": "blues.00000.wav"}}])
    (root / "lab" / "broken").mkdir()
    (root / "lab" / "broken" / "train.parquet").write_bytes(HTML)
    return root


@pytest.fixture
def ask(repositories, home, tmp_path):
    """Ask a loopback Hub for mirrors, in a process of its own: the folder of each, or the error."""
    with LoopbackHub(repositories).running() as hub:

        def run(*mirrors, **more):
            settings = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0",
                        "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1",
                        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-c", ASK, *mirrors], check=False, capture_output=True, text=True, timeout=200,
                env=os.environ | settings | more, cwd=tmp_path,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr[-2000:]
            return done.stdout.splitlines()

        run.hub = hub
        yield run


def test_the_clips_of_a_mirror_are_unpacked_and_complete(ask, home, tmp_path):
    by_audio, by_file = ask(f"lab/gtzan@{COMMIT}", f"lab/files@{COMMIT}")
    assert by_audio == str(home / f"gtzan_lab--gtzan@{COMMIT}")
    for folder in (by_audio, by_file):
        assert fetch.check_copy(Path(folder), progress=False).startswith("complete. 999 files")
    assert not [*tmp_path.rglob("evil*")]


def test_what_a_mirror_has_wrong_is_clear(ask):
    ask.hub.status = {"lab/gtzan": 401, "lab/files": 200}
    wanted = {
        "lab/none": "is not known to the Hub, or is private", "lab/gtzan": "is gated", "lab/files": "could not be reached or",
        "lab/nameless": "no clips that are called <genre>.NNNNN.wav", "lab/broken": "a parquet file that cannot be read",
        "lab/large": "3000000 bytes: refused",
    }  # fmt: skip
    found = ask(*(f"{name}@{COMMIT}" for name in wanted), f"lab/nameless@{'f' * 40}")
    for line, (name, says) in zip(found, [*wanted.items(), ("lab/nameless", "not this revision")], strict=True):
        assert line.startswith("error:") and name.replace("/", "--") in line.replace("/", "--") and says in line, line


def test_a_cut_download_of_a_mirror_goes_on_and_none_is_told(ask, home):
    ask.hub.cut = 1
    assert ask(f"lab/gtzan@{COMMIT}") == [str(home / f"gtzan_lab--gtzan@{COMMIT}")] and ask.hub.cut == 0
    assert sum(asked.startswith("GET") and asked.endswith("train-0.parquet") for asked in ask.hub.asked) == 2
    (offline,) = ask(f"lab/files@{COMMIT}", HF_HUB_OFFLINE="1")
    assert "could not be reached" in offline
