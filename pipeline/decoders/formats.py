"""The demuxers and decoders that may run: everything else is refused."""

from __future__ import annotations

VIDEO_FORMATS = (
    "mov",
    "matroska",
    "webm",
    "avi",
    "mpegts",
    "mpeg",
    "flv",
    "ogg",
    "asf",
    "mxf",
    "gif",
    "ivf",
    "h264",
    "hevc",
)
IMAGE_FORMATS = ("png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe")
FORMATS = VIDEO_FORMATS + IMAGE_FORMATS
"""Names of FFmpeg's demuxers. None of them opens a second file (no playlists, no concat lists)."""

VIDEO_CODECS = (
    "h264", "hevc", "vp8", "vp9", "libdav1d", "av1",
    "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v2", "msmpeg4", "h263", "flv", "wmv1", "wmv2", "wmv3", "vc1",
    "theora", "mjpeg", "prores", "dnxhd", "ffv1", "huffyuv", "ffvhuff", "cinepak", "qtrle", "svq3", "rawvideo",
    "png", "gif", "webp", "bmp", "tiff",
)  # fmt: skip
"""Names of FFmpeg's decoders."""

AUDIO_CODECS = (
    "aac", "aac_latm", "mp3", "mp3float", "mp2", "mp2float", "ac3", "eac3", "opus", "libopus", "vorbis", "libvorbis",
    "dca", "truehd", "mlp", "flac", "alac", "wmav1", "wmav2", "wmapro", "amrnb", "amrwb",
    "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_alaw", "pcm_mulaw",
    "pcm_bluray", "pcm_dvd",
    "adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt",
)  # fmt: skip
