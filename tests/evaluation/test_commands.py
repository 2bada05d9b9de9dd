"""Every evaluation checks how its clips are to be made before it makes or hears any."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from flowmusic.evaluation import balance, command, holes, inversions, lengths, steps, style, text_probe
from tests.refusals import tone, wav

COMMANDS = (balance, command, holes, inversions, lengths, steps, style, text_probe)


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.__name__.rsplit(".")[-1])
def test_a_seed_or_duration_that_cannot_be_is_refused(
    module: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--seed", "-1"], ["--duration", "nan"]):
        with pytest.raises(SystemExit):
            module.main([*_required(module, tmp_path), *words])
        assert f"argument {words[0]}: expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    "module", (command, holes, lengths, steps, style, text_probe), ids=lambda m: m.__name__.rsplit(".")[-1]
)
def test_guidance_that_cannot_be_read_is_refused_before_any_work(
    module: ModuleType, tmp_path: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(18):
        wav(tmp_path / "sounds" / f"{index}.wav", tone(0.1))  # too short, if they were read
    words = ["--checkpoint", str(tiny_model), "--guidance", "strong"]
    with pytest.raises(SystemExit):
        module.main([*_required(module, tmp_path / "sounds"), *words])
    assert "guidance 'strong' is not understood" in capsys.readouterr().err
    assert not (tmp_path / "sounds" / "out").exists()


def _required(module: ModuleType, sounds: Path) -> list[str]:
    options = {balance: ["--references", "--probe"], text_probe: ["--probe", "--test"]}
    given = options.get(module, ["--references"])
    return [*(word for option in given for word in (option, str(sounds))), "--out", str(sounds / "out")]
