"""GREEN and CRIMSON: answers read by hand, a local model of known answers, an endpoint, and the cache."""

import json

import numpy as np
import pytest
import torch
from helpers.chat_server import serve_chat
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from evaluation import evaluate
from evaluation.networks.language_model import LocalModel, ask_cached
from evaluation.reports import crimson, green
from evaluation.reports.crimson import parse_crimson
from evaluation.reports.green import parse_green
from evaluation.reports.judged import fill_prompt, read_prompt

GREEN_ANSWER = """[Explanation]:
The candidate misses an effusion of 2.5 cm: it should be told.

[Clinically Significant Errors]:
(a) False report of a finding in the candidate: 1. Edema: mild
(b) Missing a finding present in the reference: 2. Effusion of 2.5 cm; fracture
(c) Misidentification of a finding's anatomic location/position: 0.
(d) Misassessment of the severity of a finding: 0.
(e) Mentioning a comparison that isn't in the reference: 0.
(f) Omitting a comparison detailing a change from a prior study: 1. Worse

[Clinically Insignificant Errors]:
(a) False report of a finding in the candidate: 7. Not these

[Matched Findings]:
4. Heart; lungs; tube; bones"""
NORMAL_ANSWER = """[Explanation]: Both are normal.
[Clinically Significant Errors]:
No clinically significant errors.

[Clinically Insignificant Errors]:
None

[Matched Findings]:
3. Heart; lungs; bones
"""


def test_green_by_hand():
    """4 matched; 1 + 2 + 1 significant errors."""
    found = parse_green(GREEN_ANSWER)
    assert found.matched == 4
    assert found.errors == (1, 2, 0, 0, 0, 1)
    assert found.score == pytest.approx(4 / (4 + 4))
    assert parse_green(NORMAL_ANSWER).score == 1.0
    few = parse_green("[Clinically Significant Errors]:\n(b) Missing: 2. a; b\n\n[Matched Findings]:\n1. c")
    assert few.errors == (0, 2, 0, 0, 0, 0)
    assert few.score == pytest.approx(1 / 3)
    nothing = parse_green("[Clinically Significant Errors]:\nNone\n[Matched Findings]:\nNo matched findings.")
    assert nothing.score == 0.0
    numbered = GREEN_ANSWER.replace("(a)", "(1)").replace("(b)", "(2)").replace("(f)", "(6)")
    assert parse_green(numbered.replace("(c)", "(3)").replace("(d)", "(4)").replace("(e)", "(5)")) == found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[Matched Findings]:\n4. Heart; lungs; tube; bones", ""),
        ("[Clinically Significant Errors]", "[Errors]"),
        ("4. Heart", "Heart"),
        ("4. Heart", "4.5 Heart"),
        ("candidate: 1. Edema: mild", "candidate: Edema, mild"),
        ("candidate: 1. Edema: mild", "candidate: 2.5 cm nodule"),
        ("(c) Misidentification", "(a) Misidentification"),
    ],
)
def test_green_does_not_guess(old, new):
    assert parse_green(GREEN_ANSWER) is not None
    assert parse_green(GREEN_ANSWER.replace(old, new)) is None


def answer_of(reference, predicted, matched=(), false=(), missing=(), wrong=()):
    """CRIMSON's JSON, from significances."""
    sides = {
        f"{side}_findings": [
            {"id": f"{letter}{place}", "finding": "x", "clinical_significance": kind}
            for place, kind in enumerate(kinds, start=1)
        ]
        for side, letter, kinds in (("reference", "R", reference), ("predicted", "P", predicted))
    }
    errors = {"false_findings": list(false), "missing_findings": list(missing)}
    errors["attribute_errors"] = [
        {"ref_id": name, "pred_id": "P1", "error_types": ["location"], "severity": severity}
        for name, severity in wrong
    ]
    pairs = [{"ref_id": a, "pred_id": b} for a, b in matched]
    return json.dumps({**sides, "matched_findings": pairs, "errors": errors})


U, A, N, B = "urgent", "actionable_not_urgent", "not_actionable_not_urgent", "benign_expected"


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (answer_of([U, A], [U, A], [("R1", "P1"), ("R2", "P2")]), 1.0),
        (answer_of([U, A], [U], [("R1", "P1")], missing=["R2"]), 1.0 / 1.5),
        # 1 * 1 / (1 + 0.5) is told of 1.5
        (
            answer_of([U, A], [U], [("R1", "P1")], missing=["R2"], wrong=[("R1", "significant")]),
            1 / 1.5 / 1.5,
        ),
        (answer_of([U], [U], [("R1", "P1")], wrong=[("R1", "negligible")]), 1.0),
        (answer_of([U], [U], [("R1", "P1")], wrong=[("R1", "significant")] * 2), 1 / 2),
        (answer_of([A], [A], [("R1", "P1")], wrong=[("R1", "significant")]), 0.25 / 0.5),
        (answer_of([U], [U, N], [("R1", "P1")], false=["P2"]), 0.75),
        (answer_of([A], [A, U], [("R1", "P1")], false=["P2"]), -0.5 / 1.5),  # 0.5 told, 1 made up
        (answer_of([U], [], missing=["R1"]), 0.0),
        (answer_of([], []), 1.0),
        (answer_of([], [U, U], false=["P1", "P2"]), -2 / 3),
        (answer_of([B], [], missing=["R1"]), 1.0),
        (answer_of([], [B], false=["P1"]), 1.0),
        (answer_of([U], [U, U], [("R1", "P1"), ("R1", "P2")]), 1.0),  # counted once
    ],
)
def test_crimson_by_hand(answer, score):
    assert parse_crimson(answer).score == pytest.approx(score)
    assert parse_crimson(f"Here it is:\n```json\n{answer}\n```").score == pytest.approx(score)


def test_crimson_does_not_guess():
    good = answer_of([U], [U], [("R1", "P1")])
    assert parse_crimson(good) is not None
    for broken in (
        good.replace("urgent", "very urgent"),
        good.replace('"errors"', '"mistakes"'),
        good.replace('"R1"', '"R9"', 1),
        good[:-1],
        "no JSON",
        "{}",
        "[" * 99999,
        answer_of([U], [], missing=["R2"]),
        answer_of([U], [], false=["P1"]),
        answer_of([U], [U], wrong=[("R2", "significant")]),
        answer_of([U], [U], [("R1", "P1")], wrong=[("R1", "grave")]),
    ):
        assert parse_crimson(broken) is None


def test_our_prompts_show_an_answer_that_is_read():
    shown = green.PROMPT[green.PROMPT.index("[Explanation]") :]
    read = shown.replace("the number of matched findings, a full stop", "3. a; b; c")
    assert parse_green(read).errors == (0,) * 6
    example = crimson.PROMPT[crimson.PROMPT.index('{"reference') : crimson.PROMPT.index("Lists may")]
    example = example.replace('["P2"]', "[]").replace('["R2"]', "[]")
    assert parse_crimson(example).score == pytest.approx(1 / 1.5)


def test_prompts_of_files(tmp_path):
    """Text is one message; .json is a chat. A report that looks like a place stays as it is."""
    path = tmp_path / "prompt.txt"
    path.write_text("Compare {reference} with {candidate}. {other}")
    messages = read_prompt(path, "", "--green-prompt")
    filled = fill_prompt(messages, "a {candidate}", "b {reference}")
    assert filled == (("user", "Compare a {candidate} with b {reference}. {other}"),)
    path = tmp_path / "prompt.json"
    chat = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "{reference}|{candidate}"}]
    path.write_text(json.dumps({"messages": chat}))
    assert fill_prompt(read_prompt(path, "", "--x"), "a", "b") == (("system", "Judge."), ("user", "a|b"))
    path.write_text(json.dumps({"messages": [{"role": "user"}]}))
    with pytest.raises(ValueError, match=r"--crimson-prompt .*write .*messages"):
        read_prompt(path, "", "--crimson-prompt")
    (tmp_path / "half.txt").write_text("{reference}")
    with pytest.raises(ValueError, match=r"write \{candidate\} where the report goes"):
        read_prompt(tmp_path / "half.txt", "", "--green-prompt")


WORDS = [
    "[UNK]",
    "</s>",
    "edema",
    "effusion",
    "clear",
    "assistant",
    "user",
    GREEN_ANSWER,
    NORMAL_ANSWER,
    "Hm",
]
WORDS += [f"w{place}" for place in range(32 - len(WORDS))]
NEXT = {
    "edema": GREEN_ANSWER,
    "effusion": NORMAL_ANSWER,
    "clear": "Hm",
    "assistant": NORMAL_ANSWER,
    **dict.fromkeys((GREEN_ANSWER, NORMAL_ANSWER, "Hm"), "</s>"),
}


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    """A LlamaForCausalLM that says what follows the last word: its blocks pass everything through."""
    folder = tmp_path_factory.mktemp("llama")
    words = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer, words.decoder = pre_tokenizers.Whitespace(), decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>", unk_token="[UNK]").save_pretrained(
        folder
    )
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=32,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        eos_token_id=1,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config).eval()
    state = model.state_dict()
    for name in ("self_attn.o_proj", "mlp.down_proj"):
        state[f"model.layers.0.{name}.weight"].zero_()
    state["model.embed_tokens.weight"].copy_(torch.eye(32))
    state["lm_head.weight"].zero_()
    for word, following in NEXT.items():
        state["lm_head.weight"][WORDS.index(following), WORDS.index(word)] = 1.0
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def plain_prompt(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("{reference} against {candidate}")
    return path


def test_green_by_a_local_model(llama, plain_prompt, tmp_path):
    """Without a chat template the prompt goes in as it is, so that the candidate's last word decides."""
    made = ["Some edema", "An effusion", "All clear", "edema"]
    settings = {"green": llama, "green_prompt": plain_prompt, "device": "cpu", "num_bootstrap": 20}
    found = evaluate(["Edema."] * 4, made, ["green"], cache=tmp_path, **settings)["reports"]
    assert found["green"] == pytest.approx((0.5 + 1.0 + 0.5) / 3)
    assert found["num_green_unread"] == 1
    assert found["green_errors"]["missing_finding"] == pytest.approx(4 / 3)
    assert found["green_matched"] == pytest.approx(11 / 3)
    assert found["remarks"] == ["1 of 4 answers for GREEN do not say its numbers, and are left out."]
    assert found["intervals"]["green"][0] <= found["green"] <= found["intervals"]["green"][1]


def test_a_chat_template_is_used_and_long_prompts_are_not_answered(llama, tmp_path):
    tokenizer = PreTrainedTokenizerFast.from_pretrained(llama)
    tokenizer.chat_template = "{% for m in messages %}{{ m['from'] }} {{ m['value'] }} {% endfor %}assistant"
    LlamaForCausalLM.from_pretrained(llama).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = LocalModel(tmp_path, "cpu", 8)
    assert model([(("user", "edema"),), (("user", "edema " * 70),)]) == [NORMAL_ANSWER, ""]
    assert LocalModel(llama, "cpu", 8)([(("user", "edema"),)]) == [GREEN_ANSWER]
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="leaves out part of the prompt"):
        LocalModel(tmp_path, "cpu", 8)([(("system", "clear"), ("user", "edema"))])
    with pytest.raises(ValueError, match=r"--green .*missing cannot be loaded as a language model"):
        LocalModel(tmp_path / "missing", "cpu", 8)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(ValueError, match=r"--green .* cannot be loaded as a language model"):
        LocalModel(tmp_path, "cpu", 8)([(("user", "edema"),)])


def test_a_batch_answers_as_each_alone(llama):
    """Prompts of other lengths are filled up in front."""
    prompts = [(("user", text),) for text in ("edema", "w1 w2 w3 effusion", "w1 w2 clear")]
    model = LocalModel(llama, "cpu", 8)
    assert model(prompts) == [model([prompt])[0] for prompt in prompts] == [GREEN_ANSWER, NORMAL_ANSWER, "Hm"]


def judge(text):
    """What the server answers to either metric's prompt."""
    if "JSON" in text:
        return answer_of([U], [U], [("R1", "P1")], wrong=[("R1", "significant")])
    return "I cannot say." if "pneumothorax" in text else GREEN_ANSWER


def test_an_endpoint_is_asked_once(tmp_path, monkeypatch):
    """Both metrics; busy answers are waited for, a repeat asks nothing, a torn line is asked for again."""
    monkeypatch.setenv("LLM_API_KEY", "s3cret")
    texts = ["Edema.", "Effusion.", "Effusion."], ["Edema.", "No pneumothorax.", "No pneumothorax."]
    asked = {"green": "judge", "crimson": "judge", "num_bootstrap": 0, "device": "cpu"}
    with serve_chat(judge) as server:
        server.refusals = [503]
        run = lambda: evaluate(  # noqa: E731
            *texts, ["green", "crimson"], cache=tmp_path, llm_endpoint=server.url, **asked
        )["reports"]
        found = run()
        assert found["green"] == 0.5
        assert found["num_green_unread"] == 2
        assert found["crimson"] == pytest.approx(1 / 1.5)
        assert found["crimson_errors"]["attribute_errors"] == 1.0
        assert len(server.requests) == 5  # two distinct pairs, two metrics, and the one that was refused
        sent = server.requests[-1]
        assert sent["path"] == "/v1/chat/completions"
        assert sent["key"] == "Bearer s3cret"
        assert sent["body"]["model"] == "judge"
        assert sent["body"]["temperature"] == 0.0
        assert run() == found
        assert len(server.requests) == 5
        file = min((tmp_path / "cache").glob("answers-*.jsonl"), key=lambda path: path.stat().st_size)
        file.write_text(file.read_text()[:-9])
        assert run() == found
        assert len(server.requests) == 6
    assert run() == found  # the server is gone
    assert "s3cret" not in "".join(path.read_text() for path in (tmp_path / "cache").iterdir())


def test_an_endpoint_that_sends_on_or_refuses(tmp_path, monkeypatch):
    """Reports and key go to the named host alone; no message shows a report."""
    monkeypatch.setenv("LLM_API_KEY", "s3cret")
    asked = {"green": "judge", "num_bootstrap": 0, "device": "cpu"}
    with serve_chat(judge) as server, serve_chat(judge) as other:
        for status, location, told in (
            (307, f"{other.url}/chat/completions", "answers 307"),
            (401, "", "answers 401; is LLM_API_KEY set"),
            (404, "", "answers 404"),
        ):
            server.refusals, server.location = [status], location
            with pytest.raises(ValueError, match=told) as error:
                evaluate(["Edema."], ["Secret."], ["green"], cache=tmp_path, llm_endpoint=server.url, **asked)
            assert "Secret" not in str(error.value)
        assert other.requests == []
        server.answer = lambda text: None
        found = evaluate(["Edema."], ["Secret."], ["green"], cache=tmp_path, llm_endpoint=server.url, **asked)
        assert found["reports"]["green"] is None
        assert found["reports"]["num_green_unread"] == 1
    for url in ("ftp://host/v1", "host/v1", "https://me:pass@host/v1"):
        with pytest.raises(ValueError, match="--llm-endpoint") as error:
            evaluate(["Edema."], ["Secret."], ["green"], cache=tmp_path, llm_endpoint=url, **asked)
        assert "pass" not in str(error.value)


def test_answers_lie_by_model_and_prompt(llama, tmp_path):
    model = LocalModel(llama, "cpu", 8)
    prompts = [(("user", "edema"),), (("user", "clear"),), (("user", "edema"),)]
    assert ask_cached(model, prompts, tmp_path, "") == [GREEN_ANSWER, "Hm", GREEN_ANSWER]
    (file,) = tmp_path.iterdir()
    assert np.sum([bool(line) for line in file.read_text().splitlines()]) == 2
    assert LocalModel(llama, "cpu", 9).identity != model.identity
