import time
import zipfile

import openpyxl
import pytest

from fewshot_cxr.data.readers.xlsx_sheet import _MOST_BYTES, read_sheet

RELATED = '<Relationships xmlns="x"><Relationship Id="r1" Type="http://t/{}" Target="{}"/>{}</Relationships>'
STRINGS = '<Relationship Id="r2" Type="http://t/sharedStrings" Target="/xl/strings.xml"/>'
BOOK = '<w:workbook xmlns:w="y" xmlns:r="z"><w:sheets><w:sheet name="a" r:id="r1"/></w:sheets></w:workbook>'
SHARED = "<sst><si><t>plain</t></si><si><r><t>in </t></r><r><t>runs</t></r><rPh><t>spoken</t></rPh></si></sst>"


def write(path, rows, *, shared=SHARED, encoding="utf-8"):
    sheet = f"<worksheet><sheetData>{rows}</sheetData></worksheet>"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_rels/.rels", RELATED.format("officeDocument", "xl/book.xml", ""))
        archive.writestr("xl/book.xml", BOOK)
        archive.writestr("xl/_rels/book.xml.rels", RELATED.format("worksheet", "sheets/one.xml", STRINGS))
        archive.writestr("xl/strings.xml", shared)
        archive.writestr("xl/sheets/one.xml", sheet.encode(encoding))
    return path


def test_cells_of_every_kind_are_texts_in_their_places(tmp_path):
    path = write(
        tmp_path / "a.xlsx",
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c></row>'
        '<row><c t="inlineStr"><is><t>here</t></is></c><c><v>1.5</v></c><c t="str"><f>A1</f><v>kept</v></c></row>'
        '<row r="4"/><row r="7"><c r="XFD7" t="b"><v>1</v></c><c r="XFD7"/></row>',
    )
    assert list(read_sheet(path)) == [
        (1, {0: "plain", 2: "in runs"}),
        (2, {0: "here", 1: "1.5", 2: "kept"}),
        (7, {16_383: "1"}),
    ]


def test_it_reads_as_an_independent_reader_does(tmp_path):
    rows = [["FILE NAME", None, "URL"], ["é <&>", 7, "x" * 300], [None, None, None], ["", True, "ß"]]
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.create_sheet("other").append(["not read"])
    book.save(tmp_path / "a.xlsx")
    expected = [
        (number, {column: str(int(cell)) if cell in (7, True) else cell for column, cell in enumerate(row) if cell})
        for number, row in enumerate(rows, start=1)
        if any(row)
    ]
    assert list(read_sheet(tmp_path / "a.xlsx")) == expected


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ('<row r="2000000000"/>', "row 2000000000 stands after row 0; numbers up to 1,048,576 must rise"),
        ('<row r="-8"/>', "row -8 stands after row 0"),
        (f'<row r="{"9" * 5000}"/>', "row 99999999999999999999 stands after row 0"),
        ('<row r="2"/><row r="2"/>', "row 2 stands after row 2"),
        ('<row><c r="ZZZZ1"/></row>', "a cell called 'ZZZZ1' stands in no column of A to XFD"),
        ('<row><c r="XFE1"/></row>', "a cell called 'XFE1' stands in no column of A to XFD"),
        ("<row>" + "<c/>" * 16_385 + "</row>", "a cell stands in no column of A to XFD"),
        ('<row><c t="s"><v>2</v></c></row>', "a cell names the shared string '2', and there are 2"),
        ("<row>", "its part xl/sheets/one.xml is no XML: mismatched tag"),
        (" " * _MOST_BYTES, "it would unpack to 4,000,.* bytes, at most 4,000,000 are read"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_is_beyond_its_bounds_is_refused_before_the_work(tmp_path, rows, words, encoding):
    if rows.isspace() and encoding == "utf-16":
        words = "it would unpack to"
    path, started = write(tmp_path / "a.xlsx", rows, encoding=encoding), time.process_time()
    with pytest.raises(ValueError, match=words):
        list(read_sheet(path))
    assert time.process_time() - started < 2


def test_entities_that_grow_are_refused(tmp_path):
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><sst><si><t>&b;</t></si></sst>'
    path = write(tmp_path / "a.xlsx", '<row><c t="s"><v>0</v></c></row>', shared=laughs)
    with pytest.raises(ValueError, match="it has a document type, which no workbook has"):
        list(read_sheet(path))


@pytest.mark.parametrize(
    ("part", "words"), [("xl/book.xml", "no part xl/book.xml"), ("_rels/.rels", "no part _rels/.rels")]
)
def test_a_part_that_is_not_there_is_named(tmp_path, part, words):
    whole = write(tmp_path / "whole.xlsx", "")
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "a.xlsx", "w") as new:
        for name in old.namelist():
            if name != part:
                new.writestr(name, old.read(name))
    with pytest.raises(ValueError, match=words):
        list(read_sheet(tmp_path / "a.xlsx"))


def test_a_file_too_large_is_not_opened(tmp_path):
    (tmp_path / "a.xlsx").write_bytes(bytes(_MOST_BYTES + 1))
    with pytest.raises(ValueError, match="it holds 4,000,001 bytes, at most 4,000,000 are read"):
        list(read_sheet(tmp_path / "a.xlsx"))
