"""Open-I's report archive in its true form, with made-up texts."""

import io
import tarfile


def report_xml(uid, findings="", impression="", films=(), majors=("normal",)):
    parents = "".join(f'<parentImage id="{film}"/>' for film in films)
    mesh = "".join(f"<major>{major}</major>" for major in majors)
    sections = {"INDICATION": "Cough", "FINDINGS": findings, "IMPRESSION": impression}
    texts = "".join(
        f'<AbstractText Label="{label}">{text}</AbstractText>' for label, text in sections.items()
    )
    body = f'<uId id="{uid}"/><Abstract>{texts}</Abstract><MeSH>{mesh}</MeSH>{parents}'
    return f'<?xml version="1.0" encoding="utf-8"?><eCitation>{body}</eCitation>'.encode()


def make_archive(path, files):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
