"""Decoding: every usable file becomes mono float32, every unusable one an error that names it."""

import io
import struct

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from genre_utils.audio import encode_mp3, file_sha256, load_audio, resample
from genre_utils.errors import AudioError

RATE_HZ = 22_050


def tone(seconds=1.0, rate_hz=RATE_HZ, pitch_hz=440.0, level=0.5):
    return (level * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(
        "float32"
    )


@pytest.mark.parametrize(
    ("ending", "subtype", "tolerance"),
    [
        ("wav", "PCM_U8", 1e-2),
        ("wav", "PCM_16", 1e-4),
        ("wav", "PCM_24", 1e-6),
        ("wav", "FLOAT", 1e-7),
        ("au", "PCM_16", 1e-4),
        ("flac", "PCM_16", 1e-4),
        ("ogg", "VORBIS", 5e-2),
    ],
)
def test_every_format_decodes_to_the_same_samples(tmp_path, ending, subtype, tolerance):
    path = tmp_path / f"tone.{ending}"
    sf.write(path, tone(), RATE_HZ, subtype=subtype)
    wave, rate_hz = load_audio(path)
    assert rate_hz == RATE_HZ
    assert wave.dtype == np.float32
    assert wave.shape == (RATE_HZ,)
    assert np.abs(wave - tone())[2000:-2000].max() < tolerance


def test_a_stereo_44k_mp3_becomes_mono_at_the_rate_asked_for(tmp_path):
    path = tmp_path / "stereo.mp3"
    left = tone(2, 44_100)
    sf.write(path, np.stack([left, 0 * left], axis=1), 44_100, format="MP3")
    wave, rate_hz = load_audio(path, rate_hz=16_000)
    assert rate_hz == 16_000
    assert wave.ndim == 1
    assert abs(len(wave) - 32_000) < 2_400
    strongest = np.argmax(np.abs(np.fft.rfft(wave[:16_000] * np.hanning(16_000))))
    assert strongest == pytest.approx(440, abs=2)
    assert np.abs(wave[4000:-4000]).max() == pytest.approx(0.25, abs=0.03)  # the mean of tone and silence


def test_a_part_of_a_file_is_the_same_samples(tmp_path):
    path = tmp_path / "tone.wav"
    sf.write(path, tone(2), RATE_HZ)
    whole, _ = load_audio(path)
    part, _ = load_audio(path, offset_s=0.5, duration_s=1.0)
    np.testing.assert_array_equal(part, whole[11_025 : 11_025 + RATE_HZ])


def test_a_flac_that_was_written_into_a_pipe_is_counted(tmp_path):
    """Its header gives the number of samples as zero: unknown."""
    path = tmp_path / "piped.flac"
    sf.write(path, tone(3), RATE_HZ)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0  # the last 36 bits of the 8 bytes that begin at 18
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert sf.info(path).frames > 2**31
    wave, rate_hz = load_audio(path)
    assert rate_hz == RATE_HZ and np.abs(wave - tone(3)).max() < 1e-4


def test_a_name_that_is_too_long_is_no_file():
    with pytest.raises(AudioError, match="no such file: .*the name is too long"):
        load_audio("a" * 300 + ".wav")


def _missing(path):
    pass


def _folder(path):
    path.mkdir()


def _empty(path):
    path.write_bytes(b"")


def _text(path):
    path.write_text("this is not audio\n" * 100)


def _cut_header(path):
    sf.write(path, tone(), RATE_HZ)
    path.write_bytes(path.read_bytes()[:20])


def _no_samples(path):
    sf.write(path, tone(0), RATE_HZ)


def _too_short(path):
    sf.write(path, tone(0.05), RATE_HZ)


def _nan(path):
    wave = tone()
    wave[100] = np.nan
    sf.write(path, wave, RATE_HZ, subtype="FLOAT")


def _infinite(path):
    wave = tone()
    wave[100] = np.inf
    sf.write(path, wave, RATE_HZ, subtype="FLOAT")


def _silent(path):
    sf.write(path, tone(level=0.0), RATE_HZ)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_missing, "no such file"),
        (_folder, "folder"),
        (_empty, "zero bytes"),
        (_text, "cannot be decoded"),
        (_cut_header, "cannot be decoded"),
        (_no_samples, "less than 0.1 s"),
        (_too_short, "less than 0.1 s"),
        (_nan, "NaN"),
        (_infinite, "infinite"),
        (_silent, "silent"),
    ],
)
def test_an_unusable_file_is_named_in_the_error(tmp_path, make, says):
    path = tmp_path / "bad.00000.wav"
    make(path)
    with pytest.raises(AudioError, match=says) as caught:
        load_audio(path)
    assert str(path) in str(caught.value)


def test_a_clip_of_a_tenth_of_a_second_is_usable(tmp_path):
    sf.write(tmp_path / "short.wav", tone(0.1), RATE_HZ)
    assert load_audio(tmp_path / "short.wav")[0].shape == (2205,)


def test_a_cut_file_that_decodes_comes_back_shortened(tmp_path):
    path = tmp_path / "cut.wav"
    sf.write(path, tone(2), RATE_HZ)
    path.write_bytes(path.read_bytes()[: 44 + RATE_HZ])
    assert struct.unpack("<I", path.read_bytes()[40:44])[0] == 4 * RATE_HZ  # the header still promises 2 s
    assert len(load_audio(path)[0]) == RATE_HZ // 2


def test_reading_past_the_end_is_an_error(tmp_path):
    sf.write(tmp_path / "tone.wav", tone(), RATE_HZ)
    with pytest.raises(AudioError, match="past its end"):
        load_audio(tmp_path / "tone.wav", offset_s=5)
    with pytest.raises(AudioError, match="start >= 0"):
        load_audio(tmp_path / "tone.wav", offset_s=-1)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(2_000, 40_000),
    st.sampled_from([8_000, 16_000, 22_050, 44_100]),
    st.sampled_from([8_000, 16_000]),
)
def test_resampling_keeps_the_duration(samples, from_hz, to_hz):
    wave = np.random.default_rng(samples).standard_normal(samples).astype("float32")
    assert abs(len(resample(wave, from_hz, to_hz)) - samples * to_hz / from_hz) <= 1


def test_resampling_keeps_tones_below_and_removes_tones_above_the_new_limit():
    low, high = tone(2, pitch_hz=1_000), tone(2, pitch_hz=9_500)
    inside = slice(2_000, -2_000)
    np.testing.assert_allclose(
        resample(low, RATE_HZ, 16_000)[inside], tone(2, 16_000, 1_000)[inside], atol=1e-3
    )
    assert np.abs(resample(high, RATE_HZ, 16_000)[inside]).max() < 1e-3
    with pytest.raises(AudioError, match="positive"):
        resample(low, 0, 16_000)


@pytest.mark.parametrize("rate_hz", [16_000, 22_050, 20_000])
def test_an_mp3_player_is_small_and_sounds_the_same(rate_hz):
    encoded = encode_mp3(tone(5, rate_hz), rate_hz)
    wave, decoded_hz = sf.read(io.BytesIO(encoded))
    assert len(encoded) < 60_000
    assert len(wave) / decoded_hz == pytest.approx(5, abs=0.2)
    assert np.abs(wave[decoded_hz:-decoded_hz]).max() == pytest.approx(0.5, rel=0.2)


def test_a_player_refuses_what_is_not_one_channel_of_samples():
    for bad in (np.zeros((2, 100)), np.zeros(0), np.array([np.nan] * 100)):
        with pytest.raises(AudioError, match="one channel"):
            encode_mp3(bad, RATE_HZ)


def test_the_hash_follows_the_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = file_sha256(path)
    path.write_bytes(b"three")
    assert file_sha256(path) != first
