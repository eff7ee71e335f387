"""Music without labels: rendered, or recorded and lying in folders."""

import numpy as np
import pytest
import soundfile as sf

from genre_utils.corpora.unlabelled import recorded_unlabelled, render_unlabelled
from genre_utils.errors import GenreError


def test_the_test_clips_can_not_be_rendered_as_training_music(tmp_path):
    with pytest.raises(GenreError, match="another seed"):
        render_unlabelled(10, 1.0, seed=0, folder=tmp_path)


@pytest.fixture
def library(tmp_path):
    """A folder with three usable files in two formats, a short one, a silent stretch, and two that are no audio."""
    rng, root = np.random.default_rng(0), tmp_path / "library"
    (root / "album").mkdir(parents=True)
    sf.write(root / "a.wav", 0.3 * rng.standard_normal((2 * 44_100 + 500, 2)), 44_100)
    sf.write(root / "album" / "b.ogg", 0.3 * rng.standard_normal(3 * 22_050), 22_050)
    quiet = 0.3 * rng.standard_normal(3 * 16_000)
    quiet[16_000:32_000] = 0
    sf.write(root / "album" / "c.FLAC", quiet, 16_000)
    sf.write(root / "short.wav", 0.3 * rng.standard_normal(8_000), 16_000)
    (root / "broken.mp3").write_bytes(b"no music")
    (root / "cover.jpg").write_bytes(b"a picture")
    return root


def test_every_whole_excerpt_of_every_usable_file_is_there(library, tmp_path):
    with pytest.warns(UserWarning, match=r"left out: .*broken\.mp3"):
        rows = recorded_unlabelled([library], 1.0, folder=tmp_path / "kept", progress=False)
    assert rows.dtype == np.int16 and rows.shape == (2 + 3 + 2, 16_000)
    assert (np.abs(rows).max(axis=1) > 1000).all()


def test_what_was_decoded_is_kept_until_a_file_changes(library, tmp_path, recwarn):
    kept = tmp_path / "kept"
    first = recorded_unlabelled([library], 1.0, folder=kept, progress=False)
    assert np.array_equal(first, recorded_unlabelled([library, library / "album"], 1.0, folder=kept, progress=False))
    assert len(list(kept.iterdir())) == 1
    (library / "short.wav").unlink()
    recorded_unlabelled([library], 1.0, folder=kept, progress=False)
    assert len(list(kept.iterdir())) == 2


def test_a_folder_without_usable_music_is_an_error_that_names_it(library, tmp_path):
    with pytest.raises(GenreError, match="no usable audio of 60 s in .*library"):
        recorded_unlabelled([library / "album"], 60.0, folder=tmp_path / "kept", progress=False)
    with pytest.raises(GenreError, match="nowhere is no folder"):
        recorded_unlabelled([tmp_path / "nowhere"], folder=tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())
