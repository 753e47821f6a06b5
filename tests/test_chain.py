"""`chain` runs what follows each other, skips what is complete, and goes on where it was stopped."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from command import done, refused
from served import tells_its_bytes

from lightning_vq import chain_command
from lightning_vq.chain_command import main
from lightning_vq.errors import UserError
from lightning_vq.modules import Recommender
from lightning_vq.runs import read_yaml
from lightning_vq.serving import load
from lightning_vq.stages import stages_of, takes

CHAIN = Path("conf/dqrec").absolute()
SMALL = [
    "--data.init_args.planted={users: 120, items: 80, mean_length: 12, branching: [4, 3]}", "--trainer.max_epochs=2",
    "--trainer.enable_progress_bar=false", "--data.init_args.recent=5", 
    "--2.quantization.quantizers.user.init_args.codes=16", "--2.quantization.quantizers.item.init_args.codes=16",
    "--trainer.accelerator=cpu",
]  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chain") / "all"
    main([str(CHAIN), "--out", str(out), *SMALL])
    return out


def test_each_stage_reads_what_the_one_before_left(finished: Path) -> None:
    first, second, third = (finished / name for name in ("1_representations", "2_patterns", "3_recommender"))
    assert read_yaml(second / "config.yaml")["data"]["init_args"]["vectors"] == str(first)
    assert read_yaml(third / "config.yaml")["model"]["init_args"]["patterns"] == str(second)
    for run in (first, second, third):
        assert json.loads((run / "metrics.json").read_text())["state"] == "finished"
    told = json.loads((second / "metrics.json").read_text())["semantic_ids"]["item"]
    assert 0 <= told["collisions"] <= 1
    assert all(0 < bits <= most == 4 for bits, most in zip(told["entropy"], told["most"]))
    links = pq.read_table(second / "links" / "item.parquet")
    assert links.column_names == ["item", "neighbours", "distances", "latent"]
    assert all(len(near) == 30 for near in links["neighbours"])
    assert (third / "representations" / "user.parquet").is_file()


def test_only_the_first_stages_are_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(CHAIN), "--out", str(tmp_path), "--until=1", *SMALL])
    assert [path.name for path in sorted(tmp_path.glob("[0-9]*"))] == ["1_representations"]
    assert "The chain is complete until 1_representations" in capsys.readouterr().out
    with pytest.raises(UserError, match="'2_paterns' is no stage; did you mean '2_patterns'"):
        main([str(CHAIN), "--out", str(tmp_path), "--until=2_paterns", *SMALL])


def test_what_is_complete_is_skipped(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_command, "fit_in_child", lambda *_: pytest.fail("it was run again"))
    main([str(CHAIN), "--out", str(finished), *SMALL])
    assert capsys.readouterr().out.count("complete, in") == 3


def test_other_settings_are_refused(finished: Path) -> None:
    with pytest.raises(UserError, match=r"1_representations was made with other settings than those of now \(.*now --"):
        main([str(CHAIN), "--out", str(finished), *SMALL, "--seed_everything=3"])


def test_what_fails_is_told_and_gone_on_with(finished: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    chain = tmp_path / "mine"
    chain.mkdir()
    for file in CHAIN.glob("[23]*.yaml"):
        text = file.read_text().replace("1_representations", str(finished / "1_representations"))
        (chain / file.name).write_text(text)
    options = [option for option in SMALL if not option.startswith("--data.init_args.recent")]
    with pytest.raises(UserError, match="stage 3_recommender failed with status 2; see above"):
        main([str(chain), "--out", str(tmp_path / "out"), *options, "--3.data.init_args.recent=0"])
    assert "recent is 0" in capfd.readouterr().err
    assert not (tmp_path / "out" / "3_recommender").exists()  # nothing half written
    main([str(chain), "--out", str(tmp_path / "out"), *options, "--3.data.init_args.recent=5"])
    assert "2_patterns: complete" in capfd.readouterr().out


def test_what_no_stage_takes_is_told_before_the_first_trains(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="stage 3_recommender cannot run; see above"):
        main([str(CHAIN), "--out", str(tmp_path / "out"), *SMALL, "--3.model.init_args.lnks=3"])
    assert "lnks" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_options_go_where_they_are_taken() -> None:
    stages = stages_of(
        CHAIN, ["--data.init_args.recent=7", "--model.init_args.lr=0.1", "--2.monitor=val/x"], Path("out")
    )
    of = {stage.file.stem: stage.options for stage in stages}
    assert "--data.init_args.recent=7" in of["1_representations"]
    assert "--data.init_args.recent=7" in of["3_recommender"]
    assert "--data.init_args.recent=7" not in of["2_patterns"]
    assert all("--model.init_args.lr=0.1" in options for options in of.values())
    assert "--monitor=val/x" in of["2_patterns"]
    first = stages_of(CHAIN, ["--1.trainer.max_epochs=1", "--trainer.max_epochs=3"], Path("out"))[0]
    assert first.options == ["--trainer.max_epochs=3", "--trainer.max_epochs=1"]  # the last holds
    assert of["2_patterns"][0] == f"--data.init_args.vectors={Path('out/1_representations').absolute()}"
    assert takes(yaml.safe_load((CHAIN / "3_recommender.yaml").read_text()), "model.init_args.backbone.init_args.links")


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """A whole chain in a folder of its own."""
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_a_chain_that_was_moved_reads_its_own_runs(
    finished: Path, copied: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain_command, "fit_in_child", lambda *_: pytest.fail("it was run again"))
    before = (finished / "chain.json").read_bytes()
    main([str(CHAIN), "--out", str(copied), *SMALL])
    told = capsys.readouterr().out
    assert f"{copied} has come from {finished}: the paths in it are mended" in told
    assert told.count("complete, in") == 3
    assert all(str(finished) not in file.read_text() for file in (*copied.glob("*/config.yaml"), copied / "chain.json"))
    with pytest.raises(UserError, match="made with other settings"):  # which is no move, and mends nothing
        main([str(CHAIN), "--out", str(copied), *SMALL, "--2.data.init_args.vectors=/elsewhere/1_representations"])
    finished.rename(finished.with_name("gone"))
    try:
        done("test", "--run", str(copied / "3_recommender"))
    finally:
        finished.with_name("gone").rename(finished)
    assert (finished / "chain.json").read_bytes() == before
    main([str(CHAIN), "--out", str(copied), *SMALL])
    assert "has come from" not in capsys.readouterr().out


def test_what_was_made_from_a_run_that_is_gone_is_not_complete(copied: Path) -> None:
    shutil.rmtree(copied / "1_representations")
    with pytest.raises(UserError, match="2_patterns was made from a run that is not there any more"):
        main([str(CHAIN), "--out", str(copied), *SMALL])


def test_what_was_made_from_another_run_is_not_complete(copied: Path) -> None:
    told = copied / "1_representations" / "metrics.json"
    told.write_text(told.read_text().replace('"seed": 0', '"seed": 5'))
    with pytest.raises(UserError, match="2_patterns was made from another run than the one that is there now"):
        main([str(CHAIN), "--out", str(copied), *SMALL])


def test_a_killed_stage_does_not_go_on_from_another_run(copied: Path) -> None:
    main([str(CHAIN), "--out", str(copied), *SMALL])
    (copied / "3_recommender" / "metrics.json").unlink()
    told = copied / "2_patterns" / "metrics.json"
    told.write_text(told.read_text().replace('"seed": 0', '"seed": 7'))
    with pytest.raises(UserError, match="3_recommender was made from another run than the one that is there now"):
        main([str(CHAIN), "--out", str(copied), *SMALL])


def test_a_killed_stage_does_not_go_on_with_other_settings(copied: Path) -> None:
    main([str(CHAIN), "--out", str(copied), *SMALL])
    (copied / "3_recommender" / "metrics.json").unlink()
    with pytest.raises(UserError, match="3_recommender was made with other settings"):
        main([str(CHAIN), "--out", str(copied), *SMALL, "--3.model.init_args.lr=0.5"])


REFUSED = [
    (["--what"], "'--what' is no option of the form --KEY=VALUE"),
    (["--9.monitor=x"], "is of no stage; choose from 1_representations, 2_patterns, 3_recommender"),
    (["--data.init_args.nothing=1"], "'data.init_args.nothing' is an option of no stage; choose from "),
    (["--data.init_args.recnt=20"], "did you mean 'recent'?"),
    (["--model.init_args.backbon.init_args.dim=3"], "did you mean 'model.init_args.backbone.init_args.dim'?"),
    (["--model.init_args.lr.init_args.x=1"], "'model.init_args.lr.init_args.x' is an option of no stage"),
    (["--data.init_args.source.x.init_args.y=1"], "is an option of no stage"),
    (["--trainer.max_epochs.init_args.q=2"], "is an option of no stage"),
    (["--model.init_args.backbone.init_args.dims=8"], "did you mean 'dim'?"),
    (["--quantization.quantizers.users.init_args.codes=8"], "'quantization.quantizers.user.init_args.codes'?"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED)
def test_bad_options(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        main([str(CHAIN), "--out", str(tmp_path), *options])


def test_a_folder_without_configs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no configs \(\.yaml\)"):
        main([str(tmp_path)])
    with pytest.raises(UserError, match="is no folder: a chain is a folder of configs"):
        main([str(tmp_path / "nothing")])


def test_configs_that_do_not_follow_each_other_are_no_chain() -> None:
    with pytest.raises(UserError, match=r"conf is no chain: none of its \d+ configs has the name of an earlier one"):
        main(["conf"])


@pytest.mark.parametrize("stage", ["2_patterns", "3_recommender"])
def test_a_stage_that_is_fitted_alone_tells_of_the_chain(
    stage: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    alone = ["fit", "--config", f"conf/dqrec/{stage}.yaml"]
    assert "python -m lightning_vq chain conf/dqrec runs those before it" in refused(monkeypatch, capfd, *alone)
    other = "--data.init_args.vectors=nowhere"  # which the config does not name
    if stage == "2_patterns":
        assert "chain" not in refused(monkeypatch, capfd, *alone, other)


def test_new_entities_are_coded_without_training(finished: Path, tmp_path: Path) -> None:
    known = pq.read_table(finished / "1_representations" / "representations" / "item.parquet")
    codes = pq.read_table(finished / "2_patterns" / "semantic_ids" / "item.parquet")["codes"].to_pylist()
    vectors = known["vector"].take(pa.array([3, 5]))
    pq.write_table(pa.table({"item": ["new", "other"], "vector": vectors}), tmp_path / "new.parquet")
    command = [
        "encode",
        str(finished / "2_patterns"),
        str(tmp_path / "new.parquet"),
        "--out",
        str(tmp_path / "out.parquet"),
    ]
    told = done(*command, "--vocabulary=item", "--links=4")
    assert "2 items coded; 2 have the semantic id of one that the run has seen" in told
    found = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert found["item"] == ["new", "other"]
    assert found["codes"] == [codes[3], codes[5]]
    place = found["neighbours"][0].index(known["item"][3].as_py())  # itself, known: it is at no distance
    assert found["distances"][0][place] == 0
    assert found["distances"][0] == sorted(found["distances"][0])
    many = [*command[:-1], str(tmp_path / "many.parquet")]
    assert "no more" in done(*many, "--vocabulary=item", "--links=5000")
    assert "out.parquet is there already" in done(*command, "--vocabulary=item", expect=2)
    (tmp_path / "out.parquet").unlink()
    assert "the run codes user and item: say of which the file is by --vocabulary" in done(*command, expect=2)
    assert "--vocabulary is 'itm'; did you mean 'item'?" in done(*command, "--vocabulary=itm", expect=2)
    assert "there is no file" in done("encode", command[1], "nowhere.parquet", *command[3:], expect=2)
    table = str(CHAIN / "../../README.csv")
    assert "is no name of a .parquet file" in done(*command[:-1], table, expect=2)
    refused = done("predict", "--run", str(finished / "2_patterns"), expect=2)
    assert "VectorQuantization recommends nothing: python -m lightning_vq encode" in refused
    assert "FILE --vocabulary item" in refused
    pq.write_table(pa.table({"item": ["new"], "vector": [[1.0, 2.0]]}), tmp_path / "new.parquet")
    assert "vectors are of 2 numbers, those of the run of 64" in done(*command, "--vocabulary=item", expect=2)


@pytest.mark.parametrize("stage", ["1_representations", "3_recommender"])
def test_towers_are_served_as_they_were_after_training(stage: str, copied: Path, tmp_path: Path) -> None:
    run, out = copied / stage, tmp_path / "served"
    told = done("export", "--run", str(run), "--out", str(out))
    assert "Users and items stand as they were after training" in told
    artifact = load(out)
    left = {vocab: pq.read_table(run / "representations" / f"{vocab}.parquet") for vocab in ("user", "item")}
    ids = {vocab: table[vocab].to_pylist() for vocab, table in left.items()}
    vectors = {vocab: np.array(table["vector"].to_pylist(), np.float32) for vocab, table in left.items()}
    for vocab in ("user", "item"):
        assert (artifact.embed(vocab, ids[vocab]) == vectors[vocab]).all()
    tells_its_bytes(artifact, Recommender.load_from_checkpoint(run / "best.ckpt"))
    assert "test" not in artifact.manifest["run"]  # which is of users and items at other moments
    facts = Recommender.load_from_checkpoint(run / "best.ckpt").facts
    assert facts is not None
    assert facts.pairs is not None
    scores = vectors["user"][7] @ vectors["item"].T
    scores[facts.pairs[facts.pairs[:, 0] == 7, 1].numpy()] = -np.inf  # what the user had in training
    best = artifact.recommend(ids["user"][7], 5)
    assert [item for item, _ in best] == [ids["item"][row] for row in np.argsort(-scores)[:5]]
    told = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(told | {"state": "stopped"}))  # it went on: its vectors are of before
    assert "has not finished: two towers are" in done(
        "export", "--run", str(run), "--out", str(tmp_path / "again"), expect=2
    )
    (run / "metrics.json").write_text(json.dumps(told))
    (run / "representations" / "item.parquet").unlink()
    told = done("export", "--run", str(run), "--out", str(tmp_path / "again"), expect=2)
    assert "has no representations/item.parquet: its fit has not come to its end" in told
    assert not (tmp_path / "again").exists()
