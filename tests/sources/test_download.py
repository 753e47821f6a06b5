"""Downloads from a local server in the official formats: a folder appears whole, or not at all with one message."""

import hashlib
import io
import socket
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lightning_vq import data_command
from lightning_vq.errors import UserError
from lightning_vq.sources.download import Remote, unpack_whole
from lightning_vq.sources.files import read_table
from lightning_vq.sources.named import Source, from_local_files, located, named_source


def zipped(texts: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text.encode("latin-1"))
    return buffer.getvalue()


ML_100K = zipped(
    {
        "ml-100k/u.data": "196\t1\t3\t881250949\n186\t2\t5\t891717742\n",
        "ml-100k/u.item": '1|Amélie, "the" film (1995)|01-Jan-1995||http://x|0|1|1\n2|Heat|||http://y|0|1|0\n',
        "ml-100k/u.genre": "unknown|0\nAction|1\nDrama|2\n\n",
    }
)
ML_1M = zipped(
    {
        "ml-1m/ratings.dat": "1::1193::5::978300760\n2::661::3::978302109\n",
        "ml-1m/movies.dat": "1193::Léon, the Professional (1994)::Crime|Drama\n661::Heat (1995)::Action\n",
    }
)
GROCERY = {
    "train.csv": b"user_id\titem_id\ttime\n1\t10\t100\n1\t11\t101\n2\t10\t100\n",
    "dev.csv": b"user_id\titem_id\ttime\tneg_items\n1\t12\t102\t[13, 10]\n",
    "test.csv": b"user_id\titem_id\ttime\tneg_items\n1\t13\t103\t[10, 10]\n",
    "item_meta.csv": b"item_id\ti_category\tr_complement\tr_substitute\n10\t7\t[11, 99, 11]\t[]\n11\t3\t[]\t[10, 12]\n",
}


class Server(ThreadingHTTPServer):
    """Serves what lies in `files`, in the given manner."""

    daemon_threads = True
    files: dict[str, bytes]
    manner = "whole"  # "short": closes half way; "chunks": closes half way without having named a length


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        body = self.server.files.get(self.path[1:])
        if body is None:
            return self.send_error(404)
        self.send_response(200)
        if self.server.manner == "chunks":
            self.send_header("Transfer-Encoding", "chunked")
            body = f"{len(body):x}\r\n".encode() + body[: len(body) // 2]
        else:
            self.send_header("Content-Length", str(len(body)))
            body = body[: len(body) // 2] if self.server.manner == "short" else body
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server(("127.0.0.1", 0), Handler) as one:
        one.files = {"ml-100k.zip": ML_100K, "ml-1m.zip": ML_1M, **GROCERY}
        thread = threading.Thread(target=one.serve_forever, args=(0.01,))
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def served(name: str, server: Server, md5: str | None = None) -> Source:
    """Return a named source whose official files lie on the local server."""
    source = named_source(name)
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    return source._replace(remotes=tuple(Remote(address + remote.name, md5) for remote in source.remotes))


def refusal(source: Source, root: Path) -> str:
    """Return the message of a download that leaves nothing behind."""
    with pytest.raises(UserError) as caught:
        located(source, str(root))
    assert list(root.iterdir()) == []
    return str(caught.value)


# -- what arrives ------------------------------------------------------------------------------------------------------


def test_ml_100k(tmp_path: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    source = served("ml-100k", server, hashlib.md5(ML_100K).hexdigest())
    folder = located(source, str(tmp_path / "new" / "root"))
    assert f"ml-100k: licence: {source.licence}" in capsys.readouterr().err
    raw = source.read(folder)
    assert raw.user_ids.to_pylist() == [196, 186]
    assert raw.order.tolist() == [881250949, 891717742]
    items = read_table(folder / "items.csv.gz").to_pylist()
    assert items[0] == {"item": 1, "title": 'Amélie, "the" film (1995)', "genres": "Action|Drama"}
    assert [path.name for path in folder.parent.iterdir()] == ["ml-100k"]


def test_ml_1m(tmp_path: Path, server: Server) -> None:
    folder = located(served("ml-1m", server), str(tmp_path))
    assert named_source("ml-1m").read(folder).item_ids.to_pylist() == [1193, 661]
    assert read_table(folder / "items.csv.gz")["title"][0].as_py() == "Léon, the Professional (1994)"


def test_grocery_with_its_split_and_negatives(tmp_path: Path, server: Server) -> None:
    raw = named_source("amazon-grocery").read(located(served("amazon-grocery", server), str(tmp_path)))
    assert raw.split.tolist() == ["train"] * 3 + ["dev", "test"]
    users, negatives = raw.negatives["test"]
    assert raw.user_ids.take(users).to_pylist() == [1]
    assert [raw.item_ids[int(i)].as_py() for i in negatives[0]] == [10, 10]  # a repeat counts twice


def test_grocery_with_its_relations_and_categories(tmp_path: Path, server: Server) -> None:
    folder = located(served("amazon-grocery", server), str(tmp_path))
    triples = read_table(folder / "relations.csv.gz").to_pylist()
    assert triples[0] == {"head": 10, "relation": "complement", "tail": 11}
    assert len(triples) == 5
    raw = named_source("amazon-grocery").read(folder)  # items 10, 11, 12, 13; 99 is none of them
    assert {name: [rows.tolist() for rows in pair] for name, pair in raw.relations.items()} == {
        "complement": [[0], [1]], "substitute": [[1, 1], [0, 2]],
    }  # fmt: skip
    assert raw.item_metadata is not None
    assert raw.item_metadata.categories == [["category 7"], ["category 3"], [], []]


def test_what_lies_there_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    folder = located(served("ml-100k", server), str(tmp_path))
    server.files.clear()
    assert located(served("ml-100k", server), str(tmp_path)) == folder


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_wrong_checksum(tmp_path: Path, server: Server, kind: str) -> None:
    source = served("ml-100k", server)
    remote = source.remotes[0]._replace(**{kind: "0" * 32})
    told = f"checksum {hashlib.new(kind, ML_100K).hexdigest()} is not the published {'0' * 32}"
    assert told in refusal(source._replace(remotes=(remote,)), tmp_path)


@pytest.mark.parametrize(("manner", "expected"), [("short", "broke off after"), ("chunks", "cannot be fetched")])
@pytest.mark.parametrize("name", ["ml-1m", "amazon-grocery"])
def test_server_that_closes_half_way(tmp_path: Path, server: Server, name: str, manner: str, expected: str) -> None:
    server.manner = manner
    assert expected in refusal(served(name, server), tmp_path)


def test_address_that_is_gone(tmp_path: Path, server: Server) -> None:
    server.files.clear()
    message = refusal(served("ml-1m", server), tmp_path)
    assert "ml-1m.zip cannot be fetched (Not Found)" in message
    assert "data download ml-1m --files FOLDER_WITH_ml-1m.zip" in message
    assert f"belongs in {tmp_path / 'ml-1m'}" in message


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = named_source("ml-1m")._replace(remotes=(Remote(f"http://127.0.0.1:{free.getsockname()[1]}/ml-1m.zip"),))
    message = refusal(dead, tmp_path)
    assert "refused" in message
    assert "--files FOLDER_WITH_ml-1m.zip" in message


@pytest.mark.parametrize("body", [b"<html>moved</html>", zipped({"other/readme": "x"}), ML_100K[:-40]])
def test_files_that_are_something_else(tmp_path: Path, server: Server, body: bytes) -> None:
    server.files["ml-100k.zip"] = body
    message = refusal(served("ml-100k", server), tmp_path)
    assert "/ml-100k.zip: not the files that were expected" in message


def test_root_that_cannot_be_made(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no folder can be made there"):
        located(served("ml-100k", server), str(tmp_path / "file"))


def test_another_process_that_was_faster(tmp_path: Path) -> None:
    def unpack(_: Path, made: Path) -> None:
        (made / "mine").touch()
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "theirs").touch()

    unpack_whole(unpack, tmp_path, "here", tmp_path / "set")
    assert [path.name for path in tmp_path.rglob("*")] == ["set", "theirs"]


# -- files that the user fetched herself -------------------------------------------------------------------------------


def test_download_from_local_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, body in GROCERY.items():
        (tmp_path / name).write_bytes(body)
    root = tmp_path / "root"
    data_command.main(["download", "amazon-grocery", "--files", str(tmp_path), "--root", str(root)])
    assert capsys.readouterr().out.startswith(f"amazon-grocery lies in {root / 'amazon-grocery'};")
    assert [path.name for path in root.iterdir()] == ["amazon-grocery"]
    with pytest.raises(UserError, match="exists already"):
        data_command.main(["download", "amazon-grocery", "--files", str(tmp_path), "--root", str(root)])


def test_local_files_that_are_missing_or_strange(tmp_path: Path) -> None:
    source, root = named_source("ml-100k"), tmp_path / "root"
    with pytest.raises(UserError, match=r"has no ml-100k\.zip \(from https://"):
        from_local_files(source, tmp_path, str(root))
    (tmp_path / "ml-100k.zip").write_bytes(ML_100K[:100])
    with pytest.raises(UserError, match="not the files that were expected"):
        from_local_files(source, tmp_path, str(root))
    assert list(root.iterdir()) == []


def test_a_source_without_an_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = r"Put there interactions\.csv\.gz \(user,item,position"
    source = named_source("amazon-toys")
    for folder in (None, tmp_path):
        with pytest.raises(UserError, match=told) as caught:
            located(source, str(tmp_path)) if folder is None else from_local_files(source, folder, str(tmp_path))
        assert str(caught.value).startswith("amazon-toys cannot be downloaded: ")
        assert str(caught.value).endswith(f"it belongs in {tmp_path / 'amazon-toys'}")
    with pytest.raises(UserError, match=told):
        data_command.main(["verify", "amazon-toys", "--root", str(tmp_path)])
    data_command.main(["info", "amazon-toys", "--root", str(tmp_path)])
    assert "nowhere yet: the 5-core reviews are at snap.stanford.edu" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_folder_that_lacks_a_file(tmp_path: Path) -> None:
    (tmp_path / "ml-1m").mkdir()
    for verb in ("verify", "info"):
        with pytest.raises(UserError, match=r"ml-1m lacks interactions\.csv\.gz: .* data download ml-1m"):
            data_command.main([verb, "ml-1m", "--root", str(tmp_path)])
