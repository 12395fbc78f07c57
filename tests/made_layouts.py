"""Small made-up data sets in the form that each reader's users have on disk: real pictures, and the usual mess.

Every set has N_PATIENTS films for each of its findings, each of another patient, and three more rows: one names a
missing file, one an empty file, one a film that is cut short.
"""

import csv
import gzip
import json

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


CHEXPERT = "No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,"
CHEXPERT = (CHEXPERT + "Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,Fracture,Support Devices").split(",")
CHEXPERT_SHOWN = ("No Finding", "Edema", "Pneumonia")


def labels_of(finding, cell="1.0"):
    """Return the fourteen cells of a film that shows one of CHEXPERT_SHOWN, with some zeros and blanks."""
    zero = "Fracture" if finding else "Edema"
    return [cell if name == CHEXPERT_SHOWN[finding] else "0.0" if name == zero else "" for name in CHEXPERT]


def lay_chexpert(root):
    rows = {"train": [], "valid": []}
    for finding, number, kind in films(3):
        split = "valid" if number % 100 < 2 else "train"
        path = f"{split}/patient{number:05d}/study1/view1_frontal.jpg"
        lay_file(root / path, number, kind)
        rows[split].append([f"CheXpert-v1.0-small/{path}", "Female", 68, "Frontal", "AP", *labels_of(finding)])
    film, *about = rows["train"][0]
    rows["train"].append([film.replace("view1_frontal", "view2_lateral"), *about[:2], "Lateral", "", *about[4:]])
    rows["train"].append([film.replace("study1", "study2"), *about[:4], *labels_of(2, "-1.0")])
    for split, some in rows.items():
        write_csv(root / f"{split}.csv", ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT], some)
    return root


def lay_mimic_cxr_jpg(root):
    tables = {"split": [], "metadata": [], "chexpert": []}
    for finding, number, kind in films(3):
        patient, study, film = 10_000_000 + number, 50_000_000 + number, f"{number:08x}-film"
        lay_file(root / f"files/p10/p{patient}/s{study}/{film}.jpg", number, kind)
        tables["split"].append([film, study, patient, "validate" if number % 100 < 2 else "train"])
        tables["metadata"].append([film, patient, study, "PA"])
        tables["chexpert"].append([patient, study, *labels_of(finding)])
    tables["metadata"].append(["lateral", 10_000_000, 50_000_000, "LATERAL"])
    tables["metadata"].append(["unread", 10_000_000, 50_999_999, "AP"])
    heads = {
        "split": ["dicom_id", "study_id", "subject_id", "split"],
        "metadata": ["dicom_id", "subject_id", "study_id", "ViewPosition"],
        "chexpert": ["subject_id", "study_id", *CHEXPERT],
    }
    for name, rows in tables.items():
        write_csv(root / "plain.csv", heads[name], rows)
        with gzip.open(root / f"mimic-cxr-2.0.0-{name}.csv.gz", "wb") as packed:
            packed.write((root / "plain.csv").read_bytes())
    (root / "plain.csv").unlink()
    return root


def lay_brax(root):
    rows = []
    for finding, number, kind in films(3):
        path = f"images/id_{number}/Study_1.2/Series_3.4/image-{number}.png"
        lay_file(root / path, number, kind)
        rows.append(
            [f"Anonymized_DICOMs/id_{number}/image-{number}.dcm", path, f"id_{number}", "M", "85 or more", "PA"]
        )
        rows[-1] += labels_of(finding)
    rows.append([*rows[0][:5], "L", *labels_of(0)])
    head = ["DicomPath", "PngPath", "PatientID", "PatientSex", "PatientAge", "ViewPosition", *CHEXPERT]
    write_csv(root / "master_spreadsheet_update.csv", head, rows)
    return root


def lay_padchest(root):
    rows = []
    for finding, number, kind in films(3):
        name = f"2168401113669640{number:05d}.png"
        lay_file(root / str(number % 3) / name, number, kind)
        shown = ("['normal']", "['pleural effusion', 'unchanged']", "[' pneumonia']")[finding]
        rows.append([len(rows), name, number % 3, "20140915", f"p{number}", 1930, "F", "PA", "No", "RNN_model", shown])
    for view, shown in (("L", "['normal']"), ("PA", "['exclude', 'normal']"), ("PA", "nan"), ("PA", "['unchanged']")):
        rows.append([len(rows), "216840.png", 0, "20140915", "p1", 1930, "F", view, "No", "Physician", shown])
    head = ",ImageID,ImageDir,StudyDate_DICOM,PatientID,PatientBirth,PatientSex_DICOM,Projection,Pediatric,MethodLabel"
    write_csv(root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv", [*head.split(","), "Labels"], rows)
    return root


def lay_vindr_cxr(root):
    names = ["Cardiomegaly", "Nodule/Mass", "No finding"]
    rows = {"train": [], "test": []}
    for finding, number, kind in films(3):
        split = "test" if number % 100 < 2 else "train"
        lay_file(root / split / f"{number:032x}.png", number, kind)
        for reader in ("R8", "R9", "R10") if split == "train" else ("",):
            shown = 2 if reader == "R10" else finding  # one of three sees nothing
            rows[split].append([f"{number:032x}", *[reader] * bool(reader), *(int(n == shown) for n in range(3))])
    rows["train"] += [["f" * 32, f"R{n}", *(int(n == shown) for shown in range(3))] for n in range(3)]
    (root / "annotations").mkdir()
    for split, some in rows.items():
        head = ["image_id", *["rad_id"] * (split == "train"), *names]
        write_csv(root / "annotations" / f"image_labels_{split}.csv", head, some)
    return root


def lay_rsna_pneumonia(root):
    classes = ("Normal", "Lung Opacity", "No Lung Opacity / Not Normal")
    boxes, told, names = [], [], []
    for finding, number, kind in films(3):
        film = f"{number:08d}-cf54-4385"
        lay_file(root / "stage_2_train_images" / f"{film}.png", number, kind)
        n_boxes = 2 if finding == 1 else 1
        boxes += [[film, *([10, 20, 30, 40] if finding == 1 else [""] * 4), int(finding == 1)]] * n_boxes
        told += [[film, classes[finding]]] * n_boxes
        names.append({"subset_img_id": film, "img_id": f"{number:08d}_004.png", "orig_labels": ["Mass"]})
    write_csv(root / "stage_2_train_labels.csv", ["patientId", "x", "y", "width", "height", "Target"], boxes)
    write_csv(root / "stage_2_detailed_class_info.csv", ["patientId", "class"], told)
    (root / "pneumonia-challenge-dataset-mappings_2018.json").write_text(json.dumps(names))
    return root


def lay_siim_acr(root):
    rows = []
    for finding, number, kind in films(2):
        film = f"1.2.276.0.7230010.3.1.4.8323329.{number}"
        lay_file(root / "dicom-images-train" / f"1.2.{number}" / f"1.3.{number}" / f"{film}.png", number, kind)
        rows += [[film, " 5 3 1021 3"], [film, " 9 1"]] if finding else [[film, " -1"]]
    write_csv(root / "train-rle.csv", ["ImageId", " EncodedPixels"], rows)
    return root


def lay_tuberculosis(root, begin, folder):
    for finding, number, kind in films(2):
        if kind == "missing":
            continue  # no table names it
        name = f"{begin}_{number:04d}_{finding}"
        lay_file(root / folder / "CXR_png" / f"{name}.png", number, kind)
        (root / folder / "ClinicalReadings").mkdir(exist_ok=True)
        said = "Patient's Sex: F\nPatient's Age: 027Y\nnormal" if begin == "MCUCXR" else "male 45yrs\nnormal"
        (root / folder / "ClinicalReadings" / f"{name}.txt").write_text(said)
        for side in ("ManualMask/leftMask", "ManualMask/rightMask") if begin == "MCUCXR" else ():
            draw(root / folder / side / f"{name}.png", number)
    return root


def lay_montgomery(root):
    return lay_tuberculosis(root, "MCUCXR", "MontgomerySet")


def lay_shenzhen(root):
    return lay_tuberculosis(root, "CHNCXR", "ChinaSet_AllFiles")


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
    "brax": lay_brax,
    "chestxray14": lay_chestxray14,
    "chexpert": lay_chexpert,
    "coronahack": lay_coronahack,
    "covid19_radiography": lay_covid19_radiography,
    "covid_chestxray": lay_covid_chestxray,
    "covidx": lay_covidx,
    "image_folder": lay_image_folder,
    "manifest": lay_manifest,
    "mimic_cxr_jpg": lay_mimic_cxr_jpg,
    "montgomery": lay_montgomery,
    "padchest": lay_padchest,
    "rsna_pneumonia": lay_rsna_pneumonia,
    "shenzhen": lay_shenzhen,
    "siim_acr": lay_siim_acr,
    "vindr_cxr": lay_vindr_cxr,
}
# Rows of each set: films and mess; a film of two findings in chestxray14, and those that are passed over. A folder has
# no table, and so nothing that is missing.
N_ROWS = {
    "brax": 28,
    "chestxray14": 28,
    "chexpert": 29,
    "coronahack": 27,
    "covid19_radiography": 35,
    "covid_chestxray": 28,
    "covidx": 27,
    "image_folder": 26,
    "manifest": 27,
    "mimic_cxr_jpg": 29,
    "montgomery": 18,
    "padchest": 31,
    "rsna_pneumonia": 27,
    "shenzhen": 18,
    "siim_acr": 19,
    "vindr_cxr": 28,
}
N_PASSED_OVER = {"brax": 1, "chexpert": 2, "covid_chestxray": 1, "mimic_cxr_jpg": 2, "padchest": 4, "vindr_cxr": 1}
FOLDERS_ONLY = ("image_folder", "montgomery", "shenzhen")
