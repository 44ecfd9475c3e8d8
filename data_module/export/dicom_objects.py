"""One row of a pairs folder as two DICOM objects: a Secondary Capture film and a Basic Text SR report."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    ExplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
)

_SPACE = uuid.UUID("6f0a3c52-8d5e-4d0b-9a41-2f6f3c1f7c11")  # of our UIDs alone
_IMPLEMENTATION = UID("2.25.147651180419513722463017462741193049361")
SYNTHETIC_NOTE = (
    "Synthetic film: drawn by a generative model from text (PairCXR), of no person. Not for clinical use."
)
REAL_NOTE = "Converted to 8 bits and resized by PairCXR from another film. Not for clinical use."


@dataclass(frozen=True)
class DicomContext:
    """What the objects of one export share.

    Attributes:
        identity: text that tells this export from others: the same data give the same UIDs.
        date, time: of the export, YYYYMMDD and HHMMSS.
    """

    identity: str
    date: str
    time: str

    def uid(self, *parts: object) -> str:
        """A UID under 2.25, which needs no registered root, made of a name."""
        name = "\0".join([self.identity, *map(str, parts)])
        return f"2.25.{uuid.uuid5(_SPACE, name).int}"


def make_film(
    pixels: np.ndarray,
    row: Mapping[str, Any],
    number: int,
    context: DicomContext,
    synthetic: bool,
    lossy_bytes: int = 0,
) -> FileDataset:
    """A Secondary Capture image of (H, W) uint8 gray pixels.

    Args:
        row: of the pairs folder, as `plain_rows` gives it.
        lossy_bytes: size of the film's file where it is a JPEG: compressed with loss; else 0.
    """
    made = _begin(SecondaryCaptureImageStorage, row, number, context)
    made.Modality = "OT"
    made.SeriesInstanceUID = context.uid("films", _study(row))
    made.SeriesNumber = 1
    made.SeriesDescription = "Synthetic chest film" if synthetic else "Chest film"
    made.ConversionType = "SYN" if synthetic else "WSD"
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.BurnedInAnnotation = "NO"
    made.DerivationDescription = SYNTHETIC_NOTE if synthetic else REAL_NOTE
    made.PatientOrientation = ["L", "F"] if row.get("view") != "L" else ["P", "F"]
    if row.get("prompt"):
        made.ImageComments = str(row["prompt"])[:10_000]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    # The window that leaves each value as it is: viewers, and our reader, stretch films without one.
    made.WindowCenter, made.WindowWidth = "128", "256"
    content = np.ascontiguousarray(pixels, dtype=np.uint8).tobytes()
    made.PixelData = content + b"\0" * (len(content) % 2)
    made["PixelData"].VR = "OB"
    made.LossyImageCompression = "01" if lossy_bytes else "00"
    if lossy_bytes:
        made.LossyImageCompressionMethod = "ISO_10918_1"
        made.LossyImageCompressionRatio = f"{pixels.size / lossy_bytes:.2f}"
    return made


def make_report(
    row: Mapping[str, Any], number: int, context: DicomContext, film: Dataset | None
) -> FileDataset:
    """A Basic Text SR document: Findings and Impressions, or the report where it has no sections."""
    made = _begin(BasicTextSRStorage, row, number, context)
    made.Modality = "SR"
    made.SeriesInstanceUID = context.uid("reports", _study(row))
    made.SeriesNumber = 2
    made.ReferencedPerformedProcedureStepSequence = Sequence()
    made.PerformedProcedureCodeSequence = Sequence()
    made.CompletionFlag, made.VerificationFlag = "COMPLETE", "UNVERIFIED"
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = Sequence([_code("18748-4", "LN", "Diagnostic imaging study")])
    sections = (
        ("121070", "Findings", "121071", "Finding", row.get("findings_section")),
        ("121072", "Impressions", "121073", "Impression", row.get("impression_section")),
    )
    parts = [
        _container(heading, name, [_text(item, what, text)])
        for heading, name, item, what, text in sections
        if text
    ]
    parts = parts or [_text("121071", "Finding", row.get("report") or "")]
    if film is not None:
        reference = Dataset()
        reference.ReferencedSOPClassUID = film.SOPClassUID
        reference.ReferencedSOPInstanceUID = film.SOPInstanceUID
        image = Dataset()
        image.RelationshipType, image.ValueType = "CONTAINS", "IMAGE"
        image.ConceptNameCodeSequence = Sequence([_code("121180", "DCM", "Key Images")])
        image.ReferencedSOPSequence = Sequence([reference])
        parts.append(image)
        made.CurrentRequestedProcedureEvidenceSequence = Sequence([_evidence(film, reference)])
    made.ContentSequence = Sequence(parts)
    return made


def _begin(kind: UID, row: Mapping[str, Any], number: int, context: DicomContext) -> FileDataset:
    """What both objects have: file meta, patient, study, equipment, SOP common."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = kind
    meta.MediaStorageSOPInstanceUID = UID(context.uid(kind.keyword, row["file_name"]))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    made.SpecificCharacterSet = "ISO_IR 192"
    patient = str(row["patient_id"])[:64].replace("\\", "_")
    made.PatientName, made.PatientID, made.PatientBirthDate = patient, patient, ""
    made.PatientSex = row.get("sex") if row.get("sex") in ("F", "M") else ""
    if row.get("age") is not None:
        made.PatientAge = _age(float(row["age"]))
    made.StudyInstanceUID = context.uid("study", _study(row))
    made.StudyID, made.AccessionNumber, made.ReferringPhysicianName = _study(row)[-16:], "", ""
    made.StudyDate, made.StudyTime = context.date, context.time
    made.ContentDate, made.ContentTime = context.date, context.time
    made.Manufacturer, made.ManufacturerModelName = "PairCXR", "PairCXR"
    made.InstanceNumber = number
    return made


def _study(row: Mapping[str, Any]) -> str:
    return str(row.get("study_id") or row["file_name"]).replace("\\", "_")


def _age(years: float) -> str:
    return f"{int(years):03d}Y" if years >= 2 else f"{int(years * 12):03d}M"


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def _container(value: str, meaning: str, content: list[Dataset]) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.ContinuityOfContent = "CONTAINS", "CONTAINER", "SEPARATE"
    item.ConceptNameCodeSequence = Sequence([_code(value, "DCM", meaning)])
    item.ContentSequence = Sequence(content)
    return item


def _text(value: str, meaning: str, text: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType, item.TextValue = "CONTAINS", "TEXT", text
    item.ConceptNameCodeSequence = Sequence([_code(value, "DCM", meaning)])
    return item


def _evidence(film: Dataset, reference: Dataset) -> Dataset:
    series, study = Dataset(), Dataset()
    series.SeriesInstanceUID, series.ReferencedSOPSequence = film.SeriesInstanceUID, Sequence([reference])
    study.StudyInstanceUID, study.ReferencedSeriesSequence = film.StudyInstanceUID, Sequence([series])
    return study
