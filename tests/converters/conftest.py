"""Raw files of a few lines, in the form and with the oddities of the official ones."""

import gzip
import io
import tarfile
import zipfile

import pytest
from avazu_lines import AVAZU, AVAZU_ROWS
from taobao_lines import CIKM, TAOBAO

from recbole_cold.cli.main import main


@pytest.fixture
def raw(tmp_path):
    """A folder as ``ml-1m.zip`` unpacks to."""
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "ratings.dat").write_bytes(b"1::2::5::978300760\r\n2::1::3::978302109")
    (folder / "users.dat").write_bytes(b"1::F::1::10::48067\n2::M::56::16::70072-12\n")
    (folder / "movies.dat").write_bytes(
        b"1::Toy Story (1995)::Animation|Children's|Comedy\n"
        b"2::City of Lost Children, The (Cit\xe9 :: a) (1995)::Adventure\n"
    )
    return folder


@pytest.fixture
def dump(tmp_path):
    """A folder as ``BX-CSV-Dump.zip`` unpacks to."""
    folder = tmp_path / "dump"
    folder.mkdir()
    (folder / "BX-Book-Ratings.csv").write_bytes(
        b'"User-ID";"ISBN";"Book-Rating"\r\n"8";"000a1x";"0"\r\n"8";"000B2X";"7"\r\n'
        b'"9";"000A1X";"10"\r\n"9";"000a1x";"3"\r\n'
    )
    (folder / "BX-Users.csv").write_bytes(
        b'"User-ID";"Location";"Age"\n"8";"timmins, ontario, canada";NULL\n'
        b'"9";"n/a, n/a, n/a";"37"\n"10";"m\xfcnchen, bayern, germany";"244"\n'
    )
    columns = '"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Publisher"'
    images = ';"Image-URL-S";"Image-URL-M";"Image-URL-L"\n'
    (folder / "BX-Books.csv").write_bytes(
        (columns + images).encode()
        + b'"000A1X";"A \\"Title\\"; with\ttab &amp; more";"Mark P. O. Morford";"2002";"Oxford"'
        b';"";"";""\n'
        b'"000a1x";"Again";"Nobody";"1999";"None";"";"";""\n'
        b'"000B2X";"\\"Zwei\\" und eins";"B\xf6ll";"0";NULL;"a";"b";"c"\n'
    )
    return folder


@pytest.fixture
def clicks(tmp_path):
    """Avazu's ``train.gz``; ``clicks(*rows, header=...)`` writes it."""

    def write(*rows, header=AVAZU, name="train.gz", end="\n"):
        text = end.join([header, *(rows or AVAZU_ROWS), ""]).encode()
        path = tmp_path / name
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return write


def _tables(folder, files, changed, end, mark, pack):
    """Write each of ``files`` (name -> lines) as name.csv, or as ``pack`` says, to ``folder``."""
    folder.mkdir(exist_ok=True)
    for name, lines in {**files, **changed}.items():
        text = mark.encode() + end.join([*lines, ""]).encode()
        if pack == "gz":
            (folder / f"{name}.csv.gz").write_bytes(gzip.compress(text))
        elif pack == "tar.gz":
            with tarfile.open(folder / f"{name}.csv.tar.gz", "w:gz") as archive:
                for called, content in ((f"._{name}.csv", b"not it"), (f"{name}.csv", text)):
                    member = tarfile.TarInfo(called)
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        else:
            (folder / f"{name}.csv").write_bytes(text)
    return folder


@pytest.fixture
def taobao(tmp_path):
    """``taobao(raw_sample=lines, end=...)``: a folder with the files of Taobao's display ads."""

    def write(folder="taobao", end="\n", mark="", pack="", **changed):
        return _tables(tmp_path / folder, TAOBAO, changed, end, mark, pack)

    return write


@pytest.fixture
def cikm(tmp_path):
    """``cikm(user=lines, end=...)``: a folder with the files of CIKM 2019."""

    def write(folder="cikm", end="\n", mark="", pack="", **changed):
        return _tables(tmp_path / folder, CIKM, changed, end, mark, pack)

    return write


@pytest.fixture
def zipped(tmp_path):
    """``zipped(folder, "ml-1m/")``: the files of a folder in an archive, under that path."""

    def pack(folder, inside=""):
        path = tmp_path / f"{folder.name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("__MACOSX/._ratings.dat", b"not it")
            for file in sorted(folder.iterdir()):
                archive.write(file, f"{inside}{file.name}")
        return path

    return pack


@pytest.fixture
def converted(tmp_path, capsys):
    """``converted(name, source, "--option=value")``: exit code, stdout, stderr, and the lines of
    the atomic files without their headers, by suffix."""

    def go(name, source, *words, out="out"):
        folder = tmp_path / out
        code = main(["convert", name, str(source), f"--out={folder}", *words])
        told, complaint = capsys.readouterr()
        files = sorted(folder.glob(f"{name}.*"))
        lines = {path.suffix[1:]: path.read_text(encoding="utf-8").splitlines() for path in files}
        if code:
            assert complaint.startswith("error: ") and complaint.count("\n") == 1, complaint
            assert "Traceback" not in complaint and not told
        return code, told, complaint, {suffix: found[1:] for suffix, found in lines.items()}

    return go
