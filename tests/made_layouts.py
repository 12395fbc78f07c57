"""Small made-up data sets in the form that each reader's users have on disk: real pictures, and the usual mess.

Every set has N_PATIENTS films for each of its findings, each of another patient, and three more rows: one names a
missing file, one an empty file, one a film that is cut short.
"""

import csv

import numpy as np
import openpyxl
from PIL import Image

N_PATIENTS = 8
MESS = ("missing", "empty", "cut")


def draw(path, number):
    """Save a small film; numbers that differ by 100 differ in brightness, so that findings can be told apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(number).integers(0, 40, (40, 36), dtype=np.uint8)
    Image.fromarray(noise + np.uint8(50 * (number // 100))).save(path)


def lay_file(path, number, kind="good"):
    if kind == "missing":
        return
    draw(path, number)
    if kind != "good":
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] if kind == "cut" else b"")


def films(n_findings):
    """Yield (finding, number of the patient, kind of file) of a whole set."""
    for finding in range(n_findings):
        for patient in range(N_PATIENTS):
            yield finding, 100 * finding + patient, "good"
    for patient, kind in enumerate(MESS, start=50):
        yield 0, patient, kind


def lay_covidx(root):
    lines = {"train": [], "test": []}
    for finding, number, kind in films(3):
        split = "test" if number % 100 < 2 else "train"
        label, source = (("normal", "rnsa"), ("pneumonia", "cohen"), ("COVID-19", "sirm"))[finding]
        name = f"film({number}).png"
        lay_file(root / "data" / split / name, number, kind)
        lines[split].append(f"COVID {number} {name} {label} {source}" if finding == 2 else f"p{number} {name} {label}")
    (root / "labels").mkdir()
    for split, rows in lines.items():
        (root / "labels" / f"{split}_COVIDx8A.txt").write_text("\n".join(rows), encoding="utf-8")
    return root


def lay_coronahack(root):
    top = root / "Coronahack-Chest-XRay-Dataset" / "Coronahack-Chest-XRay-Dataset"
    rows = []
    for finding, number, kind in films(3):
        split = "TEST" if number % 100 < 2 else "TRAIN"
        name = (f"IM-{number:04d}-0001.jpeg", f"person{number}_bacteria_1.jpeg", f"person{number}_virus_1.jpeg")[
            finding
        ]
        label, cause = (("Normal", ""), ("Pnemonia", "bacteria"), ("Pnemonia", "Virus"))[finding]
        lay_file(top / split.lower() / name, number, kind)
        rows.append([len(rows), name, label, split, "", cause])
    causes = ["Label_2_Virus_category", "Label_1_Virus_category"]
    write_csv(root / "Chest_xray_Corona_Metadata.csv", ["", "X_ray_image_name", "Label", "Dataset_type", *causes], rows)
    return root


def lay_covid19_radiography(root):
    top = root / "COVID-19_Radiography_Dataset"
    folders = ("COVID", "Normal", "Lung_Opacity", "Viral Pneumonia")
    sheets = {folder: [["FILE NAME", "FORMAT", "SIZE", "URL"]] for folder in folders}
    for finding, number, kind in films(4):
        name = f"{folders[finding]}-{number}"
        lay_file(top / folders[finding] / "images" / f"{name}.png", number, kind)
        draw(top / folders[finding] / "masks" / f"{name}.png", number)
        written = name.upper() if finding == 1 else name
        sheets[folders[finding]].append([written, "PNG", "256*256", f"https://source{finding}.org/{number}"])
    for folder, rows in sheets.items():
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(top / f"{folder}.metadata.xlsx")
    return top


def lay_chestxray14(root):
    rows = []
    for finding, number, kind in films(3):
        name = f"{number:08d}_000.png"
        lay_file(root / f"images_{finding + 1:03d}" / "images" / name, number, kind)
        rows.append([name, ("No Finding", "Mass", "Effusion")[finding], 0, number, 50, "F", "PA", 2500, 2048, 0.1, 0.1])
    draw(root / "images_001" / "images" / "00000399_000.png", 399)
    rows.append(["00000399_000.png", "Mass|Effusion", 0, 399, 50, "F", "PA", 2500, 2048, 0.1, 0.1])
    head = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"
    sizes = ["OriginalImage[Width", "Height]", "OriginalImagePixelSpacing[x", "y]", ""]
    write_csv(root / "Data_Entry_2017.csv", [*head.split(","), *sizes], rows)
    return root


def lay_covid_chestxray(root):
    rows = []
    for finding, number, kind in films(3):
        name = f"case-{number}.png"
        lay_file(root / "images" / name, number, kind)
        rows.append(
            [number, 0, "M", 50, ("COVID-19", "SARS", "Pneumonia/Bacterial/Streptococcus")[finding], "PA", "X-ray"]
        )
        rows[-1] += ["images", name, "https://hospital.org/case", "CC BY"]
    rows.append([900, 0, "M", 50, "COVID-19", "Axial", "CT", "volumes", "ct.nii.gz", "", ""])
    head = "patientid,offset,sex,age,finding,view,modality,folder,filename,url,license"
    write_csv(root / "metadata.csv", head.split(","), rows)
    return root


def lay_image_folder(root):
    for finding, number, kind in films(3):
        lay_file(root / "abc"[finding] / f"p{number}_1.png", number, kind)
    return root


def lay_manifest(root):
    lay_image_folder(root)
    rows = [[f"{'abc'[finding]}/p{number}_1.png", "abc"[finding]] for finding, number, _ in films(3)]
    write_csv(root / "films.csv", ["path", "label"], rows)
    return root / "films.csv"


def write_csv(path, header, rows):
    with path.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([header, *rows])


LAYOUTS = {
    "chestxray14": lay_chestxray14,
    "coronahack": lay_coronahack,
    "covid19_radiography": lay_covid19_radiography,
    "covid_chestxray": lay_covid_chestxray,
    "covidx": lay_covidx,
    "image_folder": lay_image_folder,
    "manifest": lay_manifest,
}
# Rows of each set: films and mess; a film of two findings in chestxray14, a CT in covid_chestxray. A folder has no
# table, and so nothing that is missing.
N_ROWS = {
    "chestxray14": 28,
    "coronahack": 27,
    "covid19_radiography": 35,
    "covid_chestxray": 28,
    "covidx": 27,
    "image_folder": 26,
    "manifest": 27,
}
