"""What `ezai models pull` promises, against a package index that misbehaves."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ezai.errors import SetupError
from ezai.models import pull as pull_module
from ezai.models.catalogue import CATALOGUE, CatalogueModel, model_path
from ezai.models.pip_download import PipFault, diagnose
from ezai.models.pull import ATTEMPTS, list_models, pull, pull_model
from ezai.models.verify import is_pulled
from tests.model_fixture import REPOSITORY_DATA_DIR, ensure_model
from tests.models.package_index import CONTENT, Download, PackageIndex, point_pip_at, serve, tiny_model, wheel


@pytest.fixture(autouse=True)
def _no_pip_configuration(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("model"):
        return
    for name in list(os.environ):
        if name.startswith("PIP_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def _point_pip_at(index: PackageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in point_pip_at(index.url).items():
        monkeypatch.setenv(name, value)


def _left_in(data_dir: Path) -> set[str]:
    """Everything in the data directory but the lock, which stays."""
    return {str(p.relative_to(data_dir)) for p in data_dir.rglob("*") if p.suffix != ".lock"} - {"models"}


PULLED = {"models/tiny.gguf", "models/.tiny.gguf.verified"}


# A download that works.


def test_a_model_is_unpacked_from_its_wheel_and_nothing_else_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = wheel()
    seen: list[tuple[int, int]] = []
    with serve(archive) as index:
        _point_pip_at(index, monkeypatch)
        path = pull_model(tiny_model(archive), tmp_path, lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "models" / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert _left_in(tmp_path) == PULLED
    assert {total for _, total in seen} == {len(archive)}
    assert seen[-1][0] == len(archive)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert not [p for p in index.paths if "no-such-thing" in p], "it asked for a dependency"


def test_a_model_that_is_here_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()
    with serve(archive) as index:
        _point_pip_at(index, monkeypatch)
        first = pull_model(tiny_model(archive), tmp_path).stat()
        second = pull_model(tiny_model(archive), tmp_path).stat()
    assert index.downloads == 1
    assert (first.st_ino, first.st_mtime_ns) == (second.st_ino, second.st_mtime_ns)


def test_a_file_of_the_right_bytes_without_a_stamp_is_hashed_and_kept(tmp_path: Path) -> None:
    model = tiny_model(wheel())
    path = model_path(model, tmp_path)
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    assert pull_model(model, tmp_path) == path
    assert _left_in(tmp_path) == PULLED


def test_a_file_that_was_changed_is_pulled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()
    model = tiny_model(archive)
    with serve(archive) as index:
        _point_pip_at(index, monkeypatch)
        path = pull_model(model, tmp_path)
        path.write_bytes(bytes(len(CONTENT)))
        assert not is_pulled(model, tmp_path)
        pull_model(model, tmp_path)
    assert path.read_bytes() == CONTENT
    assert index.downloads == 2


def test_a_broken_stamp_costs_one_hash_and_no_more(tmp_path: Path) -> None:
    model = tiny_model(wheel())
    path = model_path(model, tmp_path)
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    (path.parent / ".tiny.gguf.verified").write_bytes(b"{")
    assert is_pulled(model, tmp_path)


# A download that does not.


def test_a_broken_download_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()

    def cut(download: Download) -> None:
        download.cut_after(300_000)

    # pip resumes once by itself, so two cuts end its first run.
    with serve(archive, cut, cut, Download.whole) as index:
        _point_pip_at(index, monkeypatch)
        path = pull_model(tiny_model(archive), tmp_path)
    assert path.read_bytes() == CONTENT
    assert index.downloads == 3
    assert _left_in(tmp_path) == PULLED


def test_a_download_that_keeps_breaking_off_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()
    with serve(archive, lambda download: download.cut_after(1000)) as index:
        _point_pip_at(index, monkeypatch)
        with pytest.raises(SetupError, match=f"broke off {ATTEMPTS} times") as refusal:
            pull_model(tiny_model(archive), tmp_path)
    assert index.downloads == 2 * ATTEMPTS
    _assert_plain(refusal.value, tmp_path)


def test_an_index_that_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()
    with serve(archive) as index:
        _point_pip_at(index, monkeypatch)
    with pytest.raises(SetupError, match=r"could not be reached.*check the network") as refusal:
        pull_model(tiny_model(archive), tmp_path)
    _assert_plain(refusal.value, tmp_path)


def test_an_index_that_does_not_offer_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()
    with serve(archive, offers=False) as index:
        _point_pip_at(index, monkeypatch)
        with pytest.raises(SetupError, match=r"does not offer tiny-model 1\.0") as refusal:
            pull_model(tiny_model(archive), tmp_path)
    _assert_plain(refusal.value, tmp_path)


def test_other_bytes_than_the_published_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    published = wheel()
    with serve(wheel(content=CONTENT[::-1])) as index:
        _point_pip_at(index, monkeypatch)
        with pytest.raises(SetupError, match="is not what was published") as refusal:
            pull_model(tiny_model(published), tmp_path)
    assert index.downloads == 1
    _assert_plain(refusal.value, tmp_path)


@pytest.mark.parametrize(
    "archive",
    [
        pytest.param(wheel(content=CONTENT[::-1]), id="other bytes"),
        pytest.param(wheel(content=CONTENT[:-1]), id="shorter"),
        pytest.param(wheel(content=bytes(5_000_000)), id="far longer once unpacked"),
        pytest.param(wheel(member="tiny_model/other.gguf"), id="member missing"),
    ],
)
def test_a_wheel_whose_member_is_not_the_model(archive: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(archive) as index:
        _point_pip_at(index, monkeypatch)
        with pytest.raises(SetupError, match="is not what was published") as refusal:
            pull_model(tiny_model(archive), tmp_path)
    _assert_plain(refusal.value, tmp_path)


def test_pip_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SetupError, match="python -m ensurepip") as refusal:
        pull_model(tiny_model(wheel()), tmp_path)
    _assert_plain(refusal.value, tmp_path)


def test_a_full_disk_is_seen_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage())
    with pytest.raises(SetupError, match="too full for tiny: free 19 MB") as refusal:
        pull_model(tiny_model(wheel()), tmp_path)
    _assert_plain(refusal.value, tmp_path)


class _Usage:
    free = 10_000


def test_a_disk_that_fills_up_while_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()

    def full(descriptor: int) -> None:
        raise OSError(28, "no space")

    monkeypatch.setattr("os.fsync", full)
    with serve(archive) as index:
        _point_pip_at(index, monkeypatch)
        with pytest.raises(SetupError, match="too full for tiny") as refusal:
            pull_model(tiny_model(archive), tmp_path)
    _assert_plain(refusal.value, tmp_path)


def test_a_data_directory_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "models").write_bytes(b"a file where the directory should be")
    with pytest.raises(SetupError, match="cannot be used"):
        pull_model(tiny_model(wheel()), tmp_path)


def test_a_name_that_is_not_in_the_catalogue(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no model named 'nope' to pull; there is smollm2-135m"):
        pull("nope", tmp_path)
    assert _left_in(tmp_path) == set()


def _assert_plain(error: SetupError, data_dir: Path) -> None:
    """One sentence, no address, and nothing left behind."""
    sentence = str(error)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "://" not in sentence
    assert "127.0.0.1" not in sentence
    assert _left_in(data_dir) == set()


@pytest.mark.parametrize(
    ("output", "fault"),
    [
        ("...python: No module named pip", PipFault.PIP_MISSING),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] Kein Platz", PipFault.DISK_FULL),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", PipFault.WRONG_BYTES),
        (
            "connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]'))'\n"
            "ERROR: No matching distribution found for x",
            PipFault.CERTIFICATE,
        ),
        ("after connection broken by 'x'\nERROR: No matching distribution found", PipFault.NO_CONNECTION),
        ("ERROR: No matching distribution found for x==1", PipFault.NOT_OFFERED),
        ("after connection broken by\nerror: incomplete-download", PipFault.BROKEN_OFF),
        ("something new", PipFault.UNKNOWN),
        ("", PipFault.UNKNOWN),
    ],
)
def test_what_pip_says_is_told_as_its_cause(output: str, fault: PipFault) -> None:
    assert diagnose(output) is fault


def test_every_fault_has_its_sentence() -> None:
    sentences = {pull_module._sentence(fault, tiny_model(b"")) for fault in PipFault}
    assert len(sentences) == len(PipFault)


# Interruptions and company.

_PULL = """
import sys
from pathlib import Path
from ezai.models.pull import pull_model
from tests.models.package_index import tiny_model, wheel
pull_model(tiny_model(wheel()), Path(sys.argv[1]))
"""


def _pulling(data_dir: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
    return subprocess.Popen(
        [sys.executable, "-c", _PULL, str(data_dir)],
        env=environment,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # a process group of its own, for signals
    )


@pytest.mark.parametrize("to_pip_too", [True, False], ids=["to the group, as a terminal does", "to the puller"])
def test_ctrl_c_ends_pip_and_leaves_nothing(to_pip_too: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()
    under_way, pip_gone = threading.Event(), threading.Event()

    def hang(download: Download) -> None:
        download.hang_after(300_000, under_way.set)
        pip_gone.set()

    with serve(archive, hang) as index:
        _point_pip_at(index, monkeypatch)
        process = _pulling(tmp_path)
        under_way.wait()
        if to_pip_too:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        process.wait()
        pip_gone.wait()
    assert process.returncode == -signal.SIGINT
    assert _left_in(tmp_path) == set()


def test_what_a_killed_pull_left_is_cleared_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()
    under_way = threading.Event()

    def hang(download: Download) -> None:
        download.hang_after(300_000, under_way.set)

    with serve(archive, hang, Download.whole) as index:
        _point_pip_at(index, monkeypatch)
        process = _pulling(tmp_path)
        under_way.wait()
        process.kill()
        process.wait()
        assert _left_in(tmp_path), "the scratch directory is what this test is about"
        pull_model(tiny_model(archive), tmp_path)
    assert _left_in(tmp_path) == PULLED


def test_two_pulls_at_once_share_one_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = wheel()
    model = tiny_model(archive)
    with serve(archive) as index, ThreadPoolExecutor(2) as pool:
        _point_pip_at(index, monkeypatch)
        paths = list(pool.map(lambda _: pull_model(model, tmp_path), range(2)))
    assert paths == [tmp_path / "models" / "tiny.gguf"] * 2
    assert paths[0].read_bytes() == CONTENT
    assert index.downloads == 1
    assert _left_in(tmp_path) == PULLED


# The catalogue.


def test_the_list_tells_what_is_here(tmp_path: Path) -> None:
    states = list_models(tmp_path)
    assert [state.model.name for state in states] == list(CATALOGUE)
    assert not any(state.pulled for state in states)


@pytest.mark.parametrize("model", CATALOGUE.values(), ids=lambda model: model.name)
def test_an_entry_of_the_catalogue_is_well_formed(model: CatalogueModel) -> None:
    assert model.licence
    assert model.context_tokens > 0
    for sha256 in (model.sha256, model.wheel.sha256):
        assert len(bytes.fromhex(sha256)) == 32


@pytest.mark.model
@pytest.mark.timeout(600)
def test_the_real_model_is_what_the_catalogue_pins() -> None:
    path = ensure_model()
    (path.parent / f".{path.name}.verified").unlink()
    assert [state.pulled for state in list_models(REPOSITORY_DATA_DIR)] == [True]
