"""Mixed precision: what "auto" means on a device."""

import pytest
import torch

from runtime.precision import bf16_flags, settle_precision

XEON = "avx512f avx512_bf16 avx512_fp16 amx_bf16 amx_tile"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            f"processor : 0\nflags\t\t: {XEON}\n\nprocessor : 1\nflags : fpu\n",
            ["amx_bf16", "avx512_bf16"],
        ),
        ("flags : fpu avx2 avx512f avx512_bf16\n", ["avx512_bf16"]),  # Zen 4
        ("flags : fpu avx2 avx512f avx512_vnni\nbugs : bf16\n", []),  # Skylake, Ice Lake
        ("Features\t: fp asimd sve bf16 i8mm\n", ["bf16"]),  # Graviton 3
        ("Features\t: fp asimd\n", []),
        ("", []),
    ],
)
def test_processors_with_bfloat16_are_known(tmp_path, text, found):
    (tmp_path / "cpuinfo").write_text(text)
    assert bf16_flags(tmp_path / "cpuinfo") == found


def test_a_system_without_cpuinfo_is_not_known(tmp_path):
    assert bf16_flags(tmp_path / "absent") == []


@pytest.mark.parametrize("choice", ["no", "bf16", "fp16"])
def test_what_is_asked_for_is_taken(choice, capsys):
    before = torch.get_float32_matmul_precision()
    assert settle_precision(choice, torch.device("cpu")) == choice
    assert capsys.readouterr().out == ""  # a warning goes to standard error
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(("flags", "warned"), [("fpu avx2", True), ("fpu avx512_bf16", False)])
def test_a_half_precision_that_the_processor_has_not_is_warned_of(
    tmp_path, monkeypatch, capsys, flags, warned
):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags : {flags}\n")
    monkeypatch.setattr("runtime.precision.CPUINFO", cpuinfo)
    assert settle_precision("bf16", torch.device("cpu")) == "bf16"
    assert ("--mixed-precision bf16" in capsys.readouterr().err) == warned
    assert settle_precision("auto", torch.device("cpu")) == ("no" if warned else "bf16")


def test_auto_says_what_it_came_to(capsys):
    precision = settle_precision("auto", torch.device("cpu"))
    assert precision in ("no", "bf16")
    assert capsys.readouterr().out.startswith(f"mixed precision: {precision} (")
    assert settle_precision("auto", torch.device("mps")) == "no"
