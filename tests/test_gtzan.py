"""GTZAN on disk and over the wire: complete, checked, resumable; a bad archive is never unpacked."""

import hashlib
import io
import os
import shutil
import ssl
import subprocess
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf

from genre_utils.corpora import download, gtzan, gtzan_faults, load_corpus
from genre_utils.errors import CacheError, CorpusError
from genre_utils.profiles import GENRES, PROFILES
from genre_utils.splits import make_split


def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    sf.write(buffer, 0.1 * np.random.default_rng(seed).standard_normal(2_000), 22_050, format="WAV")
    return buffer.getvalue()


CLIPS = {f"{genre}.00000": wav(i) for i, genre in enumerate(GENRES)}
LISTING = {clip: {"sha256": hashlib.sha256(data).hexdigest()} for clip, data in CLIPS.items()}


def archive(clips=CLIPS, **extra) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("gtzan_mini-main/README.md", "hello")
        for clip, data in clips.items():
            bundle.writestr(f"gtzan_mini-main/genres/{clip.split('.')[0]}/{clip}.wav", data)
        for name, data in extra.items():
            bundle.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def server():
    """A loopback server: ``state`` says what it sends, and records what it was asked for."""
    state = {"body": archive(), "cut": None, "ranges": True, "status": None, "asked": [], "delay_s": 0, "http": None}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body, wanted = state["body"], self.headers.get("Range")
            state["asked"].append(wanted)
            time.sleep(state["delay_s"])
            if state["status"]:
                self.send_error(state["status"])
                return
            start = int(wanted[6:-1]) if wanted and state["ranges"] else 0
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            self.wfile.write(body[start : state["cut"]])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        state["url"], state["http"] = f"http://127.0.0.1:{http.server_port}/main.zip", http
        yield state
        http.shutdown()
        thread.join()


@pytest.fixture
def corpora(tmp_path, monkeypatch):
    """An empty ``data/corpora``, and a mini subset of ten tiny clips."""
    monkeypatch.setenv("GENRE_UTILS_HOME", str(tmp_path))
    monkeypatch.setattr(gtzan, "mini_listing", lambda: LISTING)
    return tmp_path / "data" / "corpora"


def fetch(server):
    return gtzan.fetch_gtzan_mini(server["url"], progress=False)


def left_in(folder) -> list[str]:
    """What lies in a folder, but for the lock that keeps two downloads apart."""
    return [path.name for path in folder.iterdir() if path.name != "gtzan_mini.lock"]


def test_the_archive_is_fetched_checked_and_unpacked(server, corpora):
    folder = fetch(server)
    for clip, data in CLIPS.items():
        assert (folder / clip.split(".")[0] / f"{clip}.wav").read_bytes() == data
    assert left_in(corpora) == ["gtzan_mini"]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_is_continued(server, corpora, ranges):
    server["cut"] = 9_000
    with pytest.raises(CorpusError, match="run it again"):
        fetch(server)
    assert not (corpora / "gtzan_mini").exists()
    server.update(cut=None, ranges=ranges)
    assert (fetch(server) / "rock" / "rock.00000.wav").is_file()
    assert server["asked"] == [None, "bytes=9000-"]


def test_of_two_first_runs_at_once_one_downloads_and_both_find_the_clips(server, corpora):
    server["delay_s"] = 0.3
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: fetch(server), range(2)))
    assert folders == 2 * [corpora / "gtzan_mini"] and len(server["asked"]) == 1
    assert (corpora / "gtzan_mini" / "rock" / "rock.00000.wav").is_file()


def test_a_finished_download_that_was_not_unpacked_is_used(server, corpora):
    corpora.mkdir(parents=True)
    (corpora / "gtzan_mini.zip.part").write_bytes(server["body"])
    assert fetch(server).is_dir()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (archive({**CLIPS, "rock.00000": wav(99)}), "SHA-256"),
        (
            archive({clip: data for clip, data in CLIPS.items() if clip != "jazz.00000"}),
            "lacks 1 clips, jazz.00000",
        ),
        (archive(**{"../evil.wav": b"x"}), "unexpected"),
        (archive(**{"/etc/evil.wav": b"x"}), "unexpected"),
        (archive(**{"C:\\evil.wav": b"x"}), "unexpected"),
        (archive(**{"../rock.00000.wav": b"x"}), "unexpected"),
        (archive(**{"gtzan_mini-main/genres/rock/rock.00999.wav": b"x"}), "unexpected"),
        (archive({**CLIPS, "rock.00000": bytes(5_000_000)}), "refused"),
        (b" <html>not a zip</html>", "a web page .of a sign-in.*GTZAN_MINI_DIR"),
        (archive()[:-30], "damaged"),
    ],
)
def test_a_bad_archive_is_refused_and_leaves_nothing(server, corpora, body, says):
    server["body"] = body
    with pytest.raises(CorpusError, match=says):
        fetch(server)
    assert left_in(corpora) == []


def test_a_member_that_points_outside_is_written_nowhere_else(server, corpora):
    """A clip is unpacked to the path that its own name makes; what is no clip is not unpacked at all."""
    data = archive({clip: data for clip, data in CLIPS.items() if clip != "rock.00000"},
                   **{"../../rock.00000.wav": CLIPS["rock.00000"], "../evil.txt": b"x"})  # fmt: skip
    server["body"] = data
    folder = fetch(server)
    assert left_in(corpora) == ["gtzan_mini"] and (folder / "rock" / "rock.00000.wav").is_file()
    assert not [*corpora.parents[1].rglob("evil*")]


def test_a_server_that_refuses_or_is_not_there_says_how_to_go_on(server, corpora):
    for status in (401, 404):
        server["status"] = status
        with pytest.raises(CorpusError, match=rf"{status}.*GTZAN_MINI_DIR"):
            fetch(server)
    with pytest.raises(CorpusError, match=r"cannot be fetched.*GTZAN_MINI_DIR"):
        gtzan.fetch_gtzan_mini("http://127.0.0.1:9/main.zip", progress=False)


def test_an_archive_far_too_large_is_not_downloaded(server, corpora, monkeypatch):
    monkeypatch.setattr(download, "LARGEST_ARCHIVE", 1_000)
    with pytest.raises(CorpusError, match="not the mini subset"):
        fetch(server)


def test_a_server_that_falls_silent_is_given_up(server, corpora, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE_S", 0.2)
    server["delay_s"] = 1
    with pytest.raises(CorpusError, match=r"cannot be fetched \(.*timed out.*run it again"):
        fetch(server)


def test_a_certificate_that_nobody_vouches_for_is_refused(server, corpora, tmp_path):
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -keyout key.pem -out cert.pem"
    try:
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server["http"].socket = context.wrap_socket(server["http"].socket, server_side=True)
    with pytest.raises(CorpusError, match="self-signed certificate.*GTZAN_MINI_DIR"):
        gtzan.fetch_gtzan_mini(server["url"].replace("http:", "https:"), progress=False)
    assert server["asked"] == []


def test_nothing_is_downloaded_where_it_would_not_fit(server, corpora, monkeypatch):
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**7))
    with pytest.raises(CacheError, match=r"0.01 GB free, and 0.30 GB are needed.*GENRE_UTILS_HOME"):
        fetch(server)
    assert server["asked"] == []


def test_a_spoilt_mini_subset_is_fetched_again(server, corpora):
    path = fetch(server) / "rock" / "rock.00000.wav"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    fetch(server)
    assert path.read_bytes() == CLIPS["rock.00000"] and len(server["asked"]) == 2


def full_folder(root, ending=".wav"):
    for genre in GENRES:
        (root / "Data" / "genres_original" / genre).mkdir(parents=True)
        for number in range(100):
            (root / "Data" / "genres_original" / genre / f"{genre}.{number:05d}{ending}").write_bytes(CLIPS["pop.00000"])
    return root


@pytest.fixture
def short(monkeypatch):
    """Clips of 0.09 s, as this file's are."""
    monkeypatch.setattr(gtzan, "CLIP_S", 2_000 / 22_050)


@pytest.mark.parametrize("ending", [".wav", ".au", ".WAV", ".Au"])
def test_the_whole_gtzan_has_999_clips_without_the_damaged_one(tmp_path, monkeypatch, short, ending):
    monkeypatch.setenv("GTZAN_DIR", str(full_folder(tmp_path, ending)))
    corpus = gtzan.gtzan_full()
    assert len(corpus) == 999
    assert "jazz.00054" not in corpus
    assert "jazz.00054" in corpus.excluded
    assert corpus["metal.00000"].path.suffix == ending
    assert ["metal.00058", "rock.00016"] in [sorted(group) for group in corpus.faults["replicas"]]


def test_a_part_says_what_it_is_and_names_what_is_missing(tmp_path, monkeypatch, short):
    monkeypatch.setenv("GTZAN_DIR", str(full_folder(tmp_path)))
    (tmp_path / "Data" / "genres_original" / "pop" / "pop.00094.wav").unlink()
    corpus = gtzan.gtzan_full()
    assert (corpus.name, len(corpus)) == ("gtzan-part", 998)
    assert corpus.about == "A part of GTZAN: 998 of 999 clips (pop 99; else complete)."
    with pytest.raises(CorpusError, match="gtzan-part has no usable clip 'pop.00094': its file is not there"):
        corpus["pop.00094"]
    with pytest.raises(CorpusError, match="gtzan-part lacks 1 of the clips of the split 'filtered', pop.00094"):
        make_split(corpus, PROFILES["gtzan"])
    assert gtzan.gtzan_full(("blues", "jazz")).name == "gtzan", "these are whole"


def test_a_part_in_several_folders_and_formats_is_one_corpus(tmp_path, monkeypatch, short, capsys):
    """Ten WAV clips a genre here, Ogg Vorbis, FLAC and MP3 there; the first folder has the say, and lower rates are left out."""
    sound = np.random.default_rng(0).normal(scale=0.1, size=4_000)
    for number, (ending, rate) in enumerate([(".ogg", 22_050), (".flac", 22_050), (".mp3", 22_050), (".ogg", 16_000)]):
        for genre in ("blues", "rock"):
            (tmp_path / "there" / genre).mkdir(parents=True, exist_ok=True)
            sf.write(tmp_path / "there" / genre / f"{genre}.{number:05d}{ending}", sound, rate)
    for genre in ("blues", "rock"):
        (tmp_path / "here" / genre).mkdir(parents=True)
        (tmp_path / "here" / genre / f"{genre}.00000.wav").write_bytes(CLIPS["rock.00000"])
    monkeypatch.setenv("GTZAN_DIR", os.pathsep.join([str(tmp_path / "here"), str(tmp_path / "there")]))
    corpus = load_corpus(replace(PROFILES["gtzan"], genres=("blues", "rock")))
    assert [clip.path.suffix for clip in corpus] == 2 * [".wav", ".flac", ".mp3"]
    assert corpus.excluded["rock.00003"].startswith("16000 Hz") and "2 clips at less than 22050 Hz" in corpus.about
    assert "A part of GTZAN: 8 of 200 clips (blues 4, rock 4)" in capsys.readouterr().out
    with pytest.raises(CorpusError, match="No clip of classical, country, .* is there.\nRun what is there: --genres blues,rock"):
        gtzan.gtzan_full()


def test_copies_of_different_rates_are_told_apart_even_if_no_clip_is_missing(tmp_path, monkeypatch, short):
    """Else the rate of a clip would give its genre away."""
    full_folder(tmp_path)
    here = tmp_path / "Data" / "genres_original"
    for path in (here / "jazz").glob("*.wav"):
        (tmp_path / "there" / "jazz").mkdir(parents=True, exist_ok=True)
        sf.write(tmp_path / "there" / "jazz" / path.name, np.random.default_rng(0).normal(scale=0.1, size=4_000), 16_000)
    (tmp_path / "there" / "pop").mkdir()
    shutil.rmtree(here / "jazz")
    monkeypatch.setenv("GTZAN_DIR", os.pathsep.join([str(here), str(tmp_path / "there")]))
    corpus = gtzan.gtzan_full(("blues", "jazz"))
    assert {clip.genre for clip in corpus} == {"blues"} and corpus.excluded["jazz.00001"].startswith("16000 Hz")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "zero bytes"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1323632\n", "a pointer of Git LFS"),
        (b"\n<!doctype html><title>Sign in</title>", "a web page"),
        (CLIPS["pop.00000"][:1_500], "1500 bytes, too few"),
    ],
)
def test_what_cannot_be_a_clip_is_named_at_the_start_of_a_run(tmp_path, monkeypatch, short, content, says):
    monkeypatch.setenv("GTZAN_DIR", str(full_folder(tmp_path)))
    genre = tmp_path / "Data" / "genres_original" / "pop"
    for number in range(10, 17):
        (genre / f"pop.{number:05d}.wav").write_bytes(content)
    with pytest.raises(CorpusError, match=rf"(?s)7 of the 999 clips.*pop.00010.wav: {says}.*pop.00014.*and 2 more") as error:
        gtzan.gtzan_full()
    assert "pop.00015" not in str(error.value) and "fetch gtzan" in str(error.value)
    assert len(gtzan.gtzan_full(("blues", "jazz"))) == 199, "other genres are not touched by it"


def test_some_genres_of_a_partial_copy_make_a_corpus(tmp_path, monkeypatch, short):
    monkeypatch.setenv("GTZAN_DIR", str(full_folder(tmp_path)))
    for genre in GENRES[2:]:
        shutil.rmtree(tmp_path / "Data" / "genres_original" / genre)
    corpus = load_corpus(replace(PROFILES["gtzan"], genres=GENRES[:2]))
    assert len(corpus) == 200 and corpus.genres == GENRES[:2] and corpus.excluded == {}
    with pytest.raises(CorpusError, match=r"(?s)200 of 999 clips .*No clip of country, .*--genres blues,classical"):
        load_corpus(PROFILES["gtzan"])


def test_folders_complete_each_other(tmp_path, monkeypatch, short):
    partial, whole = full_folder(tmp_path / "a"), full_folder(tmp_path / "b")
    shutil.rmtree(partial / "Data" / "genres_original" / "rock")
    monkeypatch.setenv("GTZAN_DIR", os.pathsep.join(map(str, (tmp_path / "none", partial, whole))))
    corpus = gtzan.gtzan_full()
    assert corpus.name == "gtzan" and len(corpus) == 999 and corpus.root == partial / "Data" / "genres_original"
    assert corpus["rock.00000"].path.is_relative_to(whole) and corpus["pop.00000"].path.is_relative_to(partial)


def test_an_absent_gtzan_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("GTZAN_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(CorpusError, match=r"GTZAN_DIR"):
        gtzan.gtzan_full()
    monkeypatch.setenv("GTZAN_MINI_DIR", str(tmp_path))
    with pytest.raises(CorpusError, match=r"GTZAN_MINI_DIR"):
        gtzan.gtzan_mini()


def test_a_changed_clip_of_the_mini_subset_is_noticed(tmp_path, monkeypatch, short):
    for clip in gtzan.mini_listing():
        path = tmp_path / clip.split(".")[0] / f"{clip}.wav"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(CLIPS["rock.00000"])
    monkeypatch.setenv("GTZAN_MINI_DIR", str(tmp_path))
    with pytest.raises(CorpusError, match="SHA-256 differs"):
        gtzan.gtzan_mini()


def test_documented_faults_have_their_published_counts():
    faults = gtzan_faults()
    assert (len(faults.replicas), len(faults.same_recording), len(faults.artists)) == (46, 67, 919)
    assert sum(artist == "Bob Marley" for artist in faults.artists.values()) == 35
    assert len({artist.casefold() for artist in faults.artists.values()}) == len(set(faults.artists.values()))
    assert faults.among(["metal.00058", "rock.00016", "blues.00000"])["replicas"] == [
        ("metal.00058", "rock.00016")
    ]


@pytest.mark.skipif(not os.environ.get("GTZAN_MINI_DIR"), reason="set GTZAN_MINI_DIR to the 100 real clips")
def test_the_real_mini_subset_is_the_published_one():
    corpus = gtzan.gtzan_mini()
    assert len(corpus) == 100
    assert corpus["jazz.00012"].genre == "jazz"
    assert corpus["blues.00000"].artist == "John Lee Hooker"


def test_an_empty_part_of_gtzan_dir_is_no_place(tmp_path, monkeypatch):
    """It once became the folder in which the command was given."""
    from genre_utils.paths import absolute_places

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GTZAN_DIR", os.pathsep.join(["one", "", "two", ""]))
    absolute_places()
    assert gtzan.chosen_places() == [tmp_path / "one", tmp_path / "two"]
